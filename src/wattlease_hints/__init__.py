"""What the power allows a job: read in its own loop, for the price of looking at a file's date.

    import wattlease_hints

    hint = wattlease_hints.read()
    hint.batch_frac, hint.should_checkpoint, hint.should_pause, hint.variant
    wattlease_hints.report(speed=steps_per_second, checkpointed=True)

Nothing here raises, waits or needs another package. No hint, a torn one or one that has run out means: go on as you
are. Python 3.8 and newer; the folder may be copied into an image as it is.
"""

from wattlease_hints._hint import GO_ON, Hint
from wattlease_hints._job import Job

__all__ = ["GO_ON", "Hint", "Job", "read", "report"]

_job = Job()

read = _job.read
report = _job.report
