"""The TOSA reference model, run in a process of its own: an invalid graph aborts it.

It comes with tosa-tools, which pins an older numpy and installs generic top-level modules (``tests`` among them), so it
lives in a folder of its own, at the end of that process's path: ``make conformance`` puts it there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from engine.export.tosa.segment import TosaSegment

FOLDER = Path(__file__).resolve().parents[4] / ".cache" / "tosa"
TIMEOUT_S = 300

Arrays = Mapping[str, np.ndarray]

available = pytest.mark.skipif(
    not (FOLDER / "tosa_reference_model").is_dir(),
    reason="the TOSA reference model is not installed: make conformance",
)

_SCRIPT = """
import sys
from pathlib import Path
import numpy as np
sys.path.append(sys.argv[1])
from tosa_reference_model import GraphStatus, run
for job in sorted(Path(sys.argv[2]).glob("*.tosa")):
    if job.with_suffix(".out.npz").exists():
        continue
    with np.load(job.with_suffix(".npz")) as file:
        inputs = [file[f"arr_{index}"] for index in range(len(file.files))]
    outputs, status = run(job.read_bytes(), inputs, tosa_level="EIGHTK")
    if status != GraphStatus.TOSA_VALID:
        sys.exit(f"{job.name}: {status}")
    np.savez(job.with_suffix(".out.npz"), *outputs)
"""


class ReferenceModelError(Exception):
    """The reference model refused a graph or crashed; the text is what it said."""


def reference_outputs(jobs: Sequence[tuple[TosaSegment, Arrays]]) -> list[Arrays]:
    """Outputs of segments on inputs by program value.

    Raises:
        ReferenceModelError: It found a graph invalid, or crashed.
    """
    results = reference_results(jobs)
    for result in results:
        if isinstance(result, ReferenceModelError):
            raise result
    return [result for result in results if not isinstance(result, ReferenceModelError)]


def reference_results(jobs: Sequence[tuple[TosaSegment, Arrays]]) -> list[Arrays | ReferenceModelError]:
    """As :func:`reference_outputs`, with an error in the place of each that was refused.

    One process computes them in order; the next one begins behind the job that ended it.
    """
    results: list[Arrays | ReferenceModelError] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, (segment, inputs) in enumerate(jobs):
            (folder / f"{index:04}.tosa").write_bytes(segment.data)
            fed = [np.ascontiguousarray(inputs[value]) for value in segment.inputs]
            np.savez(folder / f"{index:04}.npz", *fed)
        said = _run(folder)
        for index, (segment, _) in enumerate(jobs):
            path = folder / f"{index:04}.out.npz"
            if path.exists():
                results.append(_outputs(segment, path))
            else:
                results.append(ReferenceModelError(said))
                (folder / f"{index:04}.tosa").unlink()
                said = _run(folder)
    return results


def _run(folder: Path) -> str:
    """Compute what has no result yet, up to the first that ends the process; returns what it said."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", _SCRIPT, str(FOLDER), str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    return f"status {done.returncode}: {(done.stdout + done.stderr).strip()[:1500]}"


def _outputs(segment: TosaSegment, path: Path) -> Arrays:
    with np.load(path) as file:
        raw = [file[f"arr_{index}"] for index in range(len(segment.outputs))]
    return {
        name: np.frombuffer(array.tobytes(), tensor.dtype).reshape(tensor.shape)
        for (name, tensor), array in zip(segment.outputs.items(), raw, strict=True)
    }
