"""``python tosa_reference.py INSTALLED FOLDER``: compute the ``.tosa`` files in FOLDER with the TOSA reference model.

INSTALLED is where the reference model lies. NAME.npz holds the inputs of NAME.tosa in order; its outputs become
NAME.out.npz. What has outputs already is left alone.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def main(installed: str, folder: Path) -> None:
    """Compute every graph, up to the first that is refused."""
    sys.path.append(installed)  # behind all others: it has modules called "tests" and "runner"
    from tosa_reference_model import GraphStatus, run

    for job in sorted(folder.glob("*.tosa")):
        if job.with_suffix(".out.npz").exists():
            continue
        with np.load(job.with_suffix(".npz")) as file:
            inputs = [file[f"arr_{index}"] for index in range(len(file.files))]
        outputs, status = run(job.read_bytes(), inputs, tosa_level="EIGHTK")
        if status != GraphStatus.TOSA_VALID:
            sys.exit(f"{job.name}: {status}")
        np.savez(job.with_suffix(".out.npz"), *outputs)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
