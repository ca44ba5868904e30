"""``python package.py PACKAGE FOLDER THREADS``: run a package on each ``k.in.npz`` of FOLDER, to ``k.out.npz``.

It is what ``quantscope run`` does, for several files in one process.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from engine.export.run import run_file


def main(package: str, folder: Path, threads: int) -> None:
    """Run the package on every file."""
    torch.set_num_threads(threads)
    for inputs in sorted(folder.glob("*.in.npz")):
        run_file(package, inputs, inputs.with_name(inputs.name.replace(".in.", ".out.")))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
