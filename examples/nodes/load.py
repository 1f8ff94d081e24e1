"""Work for the virtual GPUs of this example: node-a busy, then both, then node-b; round and round until Ctrl-C."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from wattlease.agent.virtual_state import VirtualState

STEP_S, SHIFT_S = 0.1, 30.0
BUSY_W, IDLE_W = 650.0, 70.0
WANTS_W = ((BUSY_W, IDLE_W), (BUSY_W, BUSY_W), (IDLE_W, BUSY_W))


def main() -> None:
    """Draw what work wants, up to each card's limit, and print both nodes once a second."""
    nodes = [_plugged(Path(path)) for path in sys.argv[1:3]]
    began_s = told_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        wants_w = WANTS_W[int((now_s - began_s) / SHIFT_S) % len(WANTS_W)]
        for node, want_w in zip(nodes, wants_w, strict=True):
            node.play(np.minimum(node.enforced_w(), want_w), STEP_S)
        if now_s - told_s >= 1.0:
            told_s = now_s
            print("   ".join(_line(node, want_w) for node, want_w in zip(nodes, wants_w, strict=True)), flush=True)
        time.sleep(STEP_S)


def _plugged(path: Path) -> VirtualState:
    """The node's GPUs, which its agent makes when it first starts."""
    while not path.exists():
        time.sleep(STEP_S)
    return VirtualState(path)


def _line(node: VirtualState, want_w: float) -> str:
    limits_w, draw_w = node.enforced_w(), node.cards["draw_mw"] / 1e3
    return f"{node.path.stem}: wants {want_w:.0f} W a card, limit {limits_w.mean():.0f} W, draws {draw_w.mean():.0f} W"


if __name__ == "__main__":
    main()
