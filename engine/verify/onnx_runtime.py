"""ONNX Runtime, run in a process of its own: what crashes there harms nothing here."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import onnx

from engine.errors import ThirdPartyMissingError
from engine.verify.processes import Watch, never, run_program
from engine.verify.tally import Array

TITLE = "ONNX Runtime"
Arrays = Mapping[str, Array]

T = TypeVar("T")

_MODEL = "model.onnx"
_AT_A_TIME = 4
"""Samples that one process computes, with all their values on disk."""


def runtime_version() -> str:
    """The installed version; "" for none."""
    try:
        return version("onnxruntime")
    except PackageNotFoundError:
        return ""


@dataclass(frozen=True)
class RuntimeJob:
    """A model to compute.

    Attributes:
        model: The model; of external data it holds the references alone.
        outputs: Names of the outputs to compute.
        optimised: With all of the runtime's graph optimisations, or with none.
        external: The folder that external data are in, or None.
        threads: How many threads the runtime may use.
    """

    model: onnx.ModelProto
    outputs: Sequence[str]
    optimised: bool
    external: Path | None = None
    threads: int = 1


Output = Callable[[str], Array]
"""The array of an output, by its name, read when asked for."""


def each_computed(
    job: RuntimeJob, pairs: Iterable[tuple[Arrays, T]], cancelled: Watch = never
) -> Iterator[tuple[Output, T]]:
    """What ONNX Runtime computes from the first of each pair, beside the second. A few are computed at a time, so that
    neither memory nor disk grows with their number. Raises as :func:`computed`.
    """
    rest = iter(pairs)
    while chunk := list(islice(rest, _AT_A_TIME)):
        with computed(job, [inputs for inputs, _ in chunk], cancelled) as results:
            for result, (_, other) in zip(results, chunk, strict=True):
                yield result, other


@contextmanager
def computed(job: RuntimeJob, samples: Sequence[Arrays], cancelled: Watch = never) -> Generator[list[Output]]:
    """What ONNX Runtime computes for each sample (arrays by input name), while the block lasts.

    Raises:
        ThirdPartyError: It is not installed, refuses the model, crashes or hangs.
        Cancelled: The user stopped.
    """
    if not runtime_version():
        raise ThirdPartyMissingError(f"{TITLE} is not installed", hint="pip install onnxruntime")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(job, samples, folder)
        run_program("onnx_runtime", [str(folder)], TITLE, cancelled)
        places = {output: index for index, output in enumerate(job.outputs)}

        def reader(sample: int) -> Output:
            return lambda output: np.load(folder / f"{sample}.{places[output]}.npy", allow_pickle=False)

        yield [reader(sample) for sample in range(len(samples))]


def _write(job: RuntimeJob, samples: Sequence[Arrays], folder: Path) -> None:
    (folder / _MODEL).write_bytes(job.model.SerializeToString())
    inputs = sorted(samples[0]) if samples else []
    record = {
        "model": str(folder / _MODEL),
        "external": "" if job.external is None else str(job.external),
        "optimised": job.optimised,
        "threads": job.threads,
        "samples": len(samples),
        "inputs": inputs,
        "outputs": list(job.outputs),
    }
    (folder / "job.json").write_text(json.dumps(record), encoding="utf-8")
    for index, sample in enumerate(samples):
        np.savez(folder / f"{index}.npz", *(np.ascontiguousarray(sample[name]) for name in inputs))
