#!/bin/bash
# A sweep of eight small jobs that can wait: each asks for its own watts, and gives way to others when watts are short.
#SBATCH --job-name=sweep
#SBATCH --array=0-7%4
#SBATCH --gpus=1
#SBATCH --time=00:30:00
#SBATCH --requeue
#SBATCH --output=sweep-%A-%a.out
#SBATCH --comment="wattlease:kind=Batch,weight=0.5,requeue,checkpoint=USR1@15"

export PYTHONPATH="${WATTLEASE_HINTS_FOLDER:-$HOME/lib}:$PYTHONPATH"
exec srun --ntasks=1 python3 "${EXAMPLES:-$SLURM_SUBMIT_DIR}/train.py" --seed "$SLURM_ARRAY_TASK_ID" \
    --checkpoint "sweep-$SLURM_ARRAY_JOB_ID-$SLURM_ARRAY_TASK_ID.json" --steps "${STEPS:-5000}"
