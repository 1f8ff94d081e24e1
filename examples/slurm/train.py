"""A training loop that follows Wattlease: it saves itself when asked, takes smaller batches, and stops for a while.

In place of a network it fits a polynomial to noisy points, in plain Python, so that it runs anywhere. What matters is
the loop: `hint` is read at every step, USR1 asks for a checkpoint, and a restarted job goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import wattlease_hints

BATCH = 256
RATE = 0.05
TRUTH = (0.5, -1.0, 0.25, 0.8)


def main() -> None:
    """Train until the last step, from the checkpoint if there is one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoint.json"))
    parser.add_argument("--every", type=int, default=500, help="steps between two checkpoints that nobody asked for")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()

    wanted = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: wanted.set())
    step, weights = loaded(asked.checkpoint)
    print(f"begins at step {step}", flush=True)
    began_s, done = time.monotonic(), 0
    chance = random.Random(asked.seed + step)
    while step < asked.steps:
        hint = wattlease_hints.read()
        if wanted.is_set() or hint.should_checkpoint or step % asked.every == 0:
            wanted.clear()
            save(asked.checkpoint, step, weights)
            wattlease_hints.report(checkpointed=True)
        if hint.should_pause:
            time.sleep(1.0)
            began_s, done = time.monotonic(), 0
            continue
        batch = max(1, round(BATCH * hint.batch_frac))
        weights, loss = trained(weights, batch, chance)
        step, done = step + 1, done + batch
        wattlease_hints.report(speed=done / max(time.monotonic() - began_s, 1e-9), batch=batch)
    save(asked.checkpoint, step, weights)
    print(f"ends at step {step}, loss {loss if done else float('nan'):.4f}", flush=True)


def trained(weights: list[float], batch: int, chance: random.Random) -> tuple[list[float], float]:
    """One step down the gradient of the squared error over a batch, and that error."""
    slope, error = [0.0] * len(weights), 0.0
    for _ in range(batch):
        x = chance.uniform(-1, 1)
        off = value(weights, x) - value(TRUTH, x) - chance.gauss(0, 0.1)
        error += off * off / batch
        for power in range(len(weights)):
            slope[power] += 2 * off * x**power / batch
    return [weights[power] - RATE * slope[power] for power in range(len(weights))], error


def value(weights: Sequence[float], x: float) -> float:
    """The polynomial at x."""
    return sum(w * x**power for power, w in enumerate(weights))


def loaded(path: Path) -> tuple[int, list[float]]:
    """The step and the weights of a checkpoint, or the beginning."""
    if not path.exists():
        return 0, [0.0] * len(TRUTH)
    state = json.loads(path.read_text())
    return state["step"], state["weights"]


def save(path: Path, step: int, weights: list[float]) -> None:
    """Write a checkpoint whole: the job may be stopped at any moment."""
    torn = path.with_name(f".{path.name}.{os.getpid()}")
    torn.write_text(json.dumps({"step": step, "weights": weights}))
    torn.replace(path)
    print(f"saved step {step}", flush=True)


if __name__ == "__main__":
    main()
