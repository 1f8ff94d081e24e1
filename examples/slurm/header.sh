#!/bin/bash
# A header to copy from. Wishes stand in one comment, with commas and no blanks; docs/slurm.md has the table of them.
#SBATCH --job-name=my-job
#SBATCH --nodes=2
#SBATCH --gpus-per-node=8
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --comment="wattlease:max-slowdown=20,checkpoint=B:USR1@60,checkpoint-every=1800,restart=180,min-nodes=1"

# B: sends the signal to this script alone; without it the steps that srun started hear it.
trap 'touch save-now' USR1
nvidia-smi -L 2>/dev/null || echo "GPUs of this node: ${SLURM_JOB_GPUS:-none}"
sleep "${SECONDS_TO_RUN:-1}" &
wait
