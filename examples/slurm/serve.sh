#!/bin/bash
# A service with a promise: never paused, never slower than nine tenths.
#SBATCH --job-name=serve
#SBATCH --gpus=2
#SBATCH --time=08:00:00
#SBATCH --output=serve-%j.out
#SBATCH --comment="wattlease:kind=Inference,not-pausable,max-slowdown=10"

export PYTHONPATH="${WATTLEASE_HINTS_FOLDER:-$HOME/lib}:$PYTHONPATH"
exec srun --ntasks=1 python3 "${EXAMPLES:-$SLURM_SUBMIT_DIR}/serve.py" --port "${PORT:-8000}"
