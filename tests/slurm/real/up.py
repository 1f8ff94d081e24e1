"""Bring up a real Slurm by hand and keep it until Ctrl-C: `python tests/slurm/real/up.py --slurm 24.11.5`."""

from __future__ import annotations

import argparse
import signal
from pathlib import Path
from tempfile import TemporaryDirectory

from slurm_cluster import Cluster
from slurm_installation import SUITES, Installation


def main() -> None:
    """Say where everything is, then wait."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--slurm", default="24.11.5", choices=SUITES, help="the version")
    asked.add_argument("--folder", type=Path, help="where its files go; absent: a folder that goes with it")
    asked.add_argument("--nodes", type=int, default=4, help="how many, of 8 GPUs each")
    asked.add_argument("--licences", default="power:10000")
    asked.add_argument("--job-submit", type=Path, help="a folder with job_submit.lua and what it needs")
    asked.add_argument("--backup", action="store_true", help="a backup slurmctld as well")
    asked.add_argument("--conf", action="append", default=[], metavar="NAME=VALUE", help="for slurm.conf")
    told = asked.parse_args()
    with TemporaryDirectory(prefix="slurm-") as own:
        cluster = Cluster(
            Installation.of(told.slurm), (told.folder or Path(own)).resolve(),
            nodes=[f"n{i + 1}" for i in range(told.nodes)], licences=told.licences, job_submit=told.job_submit,
            backup=told.backup, conf=dict(setting.split("=", 1) for setting in told.conf),
        )  # fmt: skip
        with cluster:
            print(f"Slurm {told.slurm} is up after {cluster.brought_up_s:.1f} s; Ctrl-C ends it")
            print(f"  commands     export PATH={cluster.bin}:$PATH")
            print(f"  /etc/slurm   {cluster.slurm_conf.parent}")
            print(f"  logs         {cluster.log}")
            print(f"  a shell      {' '.join(cluster.room.entering())} bash", flush=True)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: None)
            signal.pause()


if __name__ == "__main__":
    main()
