#!/bin/bash
# A training job that Wattlease may slow by a quarter, run with smaller batches, or pause after 30 s for a checkpoint.
#SBATCH --job-name=train
#SBATCH --gpus=4
#SBATCH --time=02:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=train-%j.out
#SBATCH --comment="wattlease:max-slowdown=25,pausable,checkpoint=USR1@30,checkpoint-every=600,batch=75:85:82/50:65:58"

# wattlease_hints is a folder of three files without dependencies; copy it to where your jobs find it.
export PYTHONPATH="${WATTLEASE_HINTS_FOLDER:-$HOME/lib}:$PYTHONPATH"
exec srun --ntasks=1 python3 "${EXAMPLES:-$SLURM_SUBMIT_DIR}/train.py" --checkpoint "train-$SLURM_JOB_ID.json" \
    --steps "${STEPS:-20000}"
