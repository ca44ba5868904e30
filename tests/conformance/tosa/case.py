"""A case of the suite: its folder, the program it becomes, and what the executor computes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from engine.program.executor import run_program
from tests.conformance.tosa.forms import FORMS
from tests.conformance.tosa.reader import TosaFile, UnreadableError, read_tosa
from tests.conformance.tosa.translate import CONTAINER, OutsideError, Translation, program_of, translated

Arrays = Mapping[str, NDArray[np.generic]]

DESCRIPTION = "desc.json"

assert FORMS


def computed(translation: Translation) -> Arrays:
    """The graph's outputs by the executor, each in the type in which the suite stores it."""
    program = program_of(translation)
    fed = {key: torch.from_numpy(_contained(translation, key)) for key in program.inputs}
    results = run_program(program, fed)
    return {key: _stored(translation, key, result.numpy()) for key, result in results.items()}


def _contained(translation: Translation, key: str) -> NDArray[np.generic]:
    """An input in the type that holds its numbers in programs; unsigned ones arrive as the bits of signed ones."""
    array = np.array(translation.given[key], order="C")
    if key in translation.unsigned:
        array = array.view(f"u{array.dtype.name}").astype(CONTAINER[f"u{translation.dtype(key)}"])
    return array


def _stored(translation: Translation, key: str, result: NDArray[np.generic]) -> NDArray[np.generic]:
    """A result as the suite's files have it: row by row, unsigned numbers as the bits of signed ones."""
    result = np.array(result, order="C")
    if key not in translation.unsigned:
        return result
    dtype = translation.dtype(key)
    return result.astype(f"u{dtype}").view(dtype)


def case_program(folder: Path) -> Translation:
    """The case's graph as a program.

    Raises:
        OutsideError: It asks for what no integer program can say.
    """
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    try:
        file: TosaFile = read_tosa((folder / description["tosa_file"]).read_bytes())
    except UnreadableError as error:
        raise OutsideError(str(error)) from error
    names = zip(description["ifm_name"], description["ifm_file"], strict=True)
    return translated(file, {name: np.load(folder / stored) for name, stored in names})


def run_case(folder: Path) -> None:
    """Compute a case and write its results where the suite's checker looks for them."""
    description = json.loads((folder / DESCRIPTION).read_text(encoding="utf-8"))
    results = computed(case_program(folder))
    for name, target in zip(description["ofm_name"], description["ofm_file"], strict=True):
        np.save(folder / target, results[name], allow_pickle=False)
