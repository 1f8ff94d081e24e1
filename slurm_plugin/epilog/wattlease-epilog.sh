#!/bin/sh
# Takes a job off the GPUs that the prolog wrote down for it; other jobs keep theirs, a GPU without a job has no file.
# As slurm.conf's Epilog, or called from the site's own. It never fails and waits five seconds at the most.

folder=/run/wattlease/gpus
case "${SLURM_JOB_ID:-}" in '' | *[!0-9]*) exit 0 ;; esac
[ -d "$folder" ] || exit 0

umask 022
(
    flock -w 5 9
    for file in "$folder"/*; do
        grep -qx "$SLURM_JOB_ID" "$file" || continue
        torn="$folder/.${file##*/}.$$"
        if grep -vx "$SLURM_JOB_ID" "$file" >"$torn"; then mv "$torn" "$file"; else rm -f "$torn" "$file"; fi
    done
) 9>"$folder/.lock" 2>/dev/null
exit 0
