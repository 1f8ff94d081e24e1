"""Build the C library that answers as libnvidia-ml.so.1: `python build.py FOLDER` puts it there and prints its path.

A process then finds it by LD_LIBRARY_PATH, or any that has loaded it already by its name; the file of virtual GPUs is
named by WATTLEASE_VIRTUAL_GPUS.
"""

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("virtual_nvml.c")
NAME = "libnvidia-ml.so.1"


def build(folder: Path) -> Path:
    library = folder / NAME
    flags = [
        "-shared",
        "-fPIC",
        "-O2",
        "-std=c11",
        "-D_GNU_SOURCE",
        "-Wall",
        "-Wextra",
        "-Werror",
        f"-Wl,-soname,{NAME}",
    ]
    subprocess.run(["gcc", *flags, "-o", str(library), str(SOURCE)], check=True, capture_output=True, text=True)
    return library


if __name__ == "__main__":
    print(build(Path(sys.argv[1])))
