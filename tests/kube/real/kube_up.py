"""Bring up a real control plane by hand and keep it until Ctrl-C: `python tests/kube/real/kube_up.py --nodes 4`."""

from __future__ import annotations

import argparse
import signal
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from kube_binaries import Binaries
from kube_kueue import kueue
from kube_kwok import kwok
from kube_plane import ControlPlane


def main() -> None:
    """Say where everything is, then wait."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--folder", type=Path, help="where its files go; absent: a folder that goes with it")
    asked.add_argument("--nodes", type=int, default=4, help="how many, of 8 GPUs each")
    asked.add_argument("--kueue", action="store_true", help="Kueue as well")
    told = asked.parse_args()
    with TemporaryDirectory(prefix="kube-") as own, ExitStack() as stack:
        binaries = Binaries.built()
        plane = stack.enter_context(ControlPlane(binaries, (told.folder or Path(own)).resolve()))
        stack.enter_context(kwok(plane, [f"gpu-{i + 1}" for i in range(told.nodes)]))
        if told.kueue:
            stack.enter_context(kueue(plane))
        print(f"The control plane was up after {plane.brought_up_s:.1f} s; Ctrl-C ends it")
        print(f"  commands     export KUBECONFIG={plane.kubeconfig} PATH={binaries.root / 'bin'}:$PATH")
        print(f"  logs         {plane.log}", flush=True)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        signal.pause()


if __name__ == "__main__":
    main()
