#!/bin/sh
# Tells the node's agent (and dcgm-exporter) which GPUs a job has: one file for each GPU, one job a line.
# As slurm.conf's Prolog, or called from the site's own. It never fails a job and waits five seconds at the most.

folder=/run/wattlease/gpus
case "${SLURM_JOB_ID:-}" in '' | *[!0-9]*) exit 0 ;; esac
case "${SLURM_JOB_GPUS:-}" in '' | *[!0-9,-]*) exit 0 ;; esac

umask 022
mkdir -p "$folder" 2>/dev/null || exit 0
(
    flock -w 5 9
    for span in $(echo "$SLURM_JOB_GPUS" | tr ',' ' '); do
        for gpu in $(seq "${span%%-*}" "${span##*-}"); do
            torn="$folder/.$gpu.$$"
            { cat "$folder/$gpu"; echo "$SLURM_JOB_ID"; } | awk '!seen[$0]++' >"$torn"
            mv "$torn" "$folder/$gpu"
        done
    done
) 9>"$folder/.lock" 2>/dev/null
exit 0
