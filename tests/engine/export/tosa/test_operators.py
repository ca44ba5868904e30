"""Every program operator as TOSA computes the executor's bits, by the TOSA reference model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.errors import ExportError, ThirdPartyError
from engine.export.tosa.emit import MOVEMENT, TO_TOSA
from engine.ops.layout import Layout, LookUp
from engine.program.executor import run_instruction
from engine.program.kernels import KERNEL
from engine.program.types import (
    AveragePoolInteger,
    Convolution,
    DataMovement,
    Dequantise,
    FloatKernel,
    Quantise,
)
from engine.verify.tosa_reference import Arrays, reference_outputs, reference_results
from tests.engine.export.tosa.cases import Case, cases, integers
from tests.engine.verify.parties import needs_tosa


def test_every_operator_has_a_form_and_a_case() -> None:
    used = {type(case.op) for case in cases().values()}
    assert set(KERNEL) - {Quantise, Dequantise, FloatKernel, DataMovement} == set(TO_TOSA)
    assert used == {*TO_TOSA, DataMovement}
    moved = {type(case.op.op) for case in cases().values() if isinstance(case.op, DataMovement)}
    assert moved == set(MOVEMENT) == {*Layout.__subclasses__(), LookUp}


def executed(case: Case) -> Arrays:
    operands = [torch.from_numpy(operand.copy()) for operand in case.operands]
    results = run_instruction(case.instruction, operands)
    return {name: result.numpy() for name, result in zip(case.instruction.outputs, results, strict=True)}


@pytest.fixture(scope="module")
def computed() -> Mapping[str, tuple[Arrays, Arrays | ThirdPartyError]]:
    """By case, what the executor and the reference model computed."""
    wanted = {name: executed(case) for name, case in cases().items()}
    jobs = [
        (case.segment(tuple(array.dtype.name for array in wanted[name].values())), case.fed)
        for name, case in cases().items()
    ]
    return {name: (wanted[name], found) for name, found in zip(wanted, reference_results(jobs), strict=True)}


@needs_tosa
@pytest.mark.parametrize("name", cases())
def test_computes_the_same_bits(computed: Mapping[str, tuple[Arrays, Arrays | ThirdPartyError]], name: str) -> None:
    wanted, found = computed[name]
    assert not isinstance(found, ThirdPartyError), found
    assert wanted.keys() == found.keys()
    for value, array in wanted.items():
        assert found[value].dtype == array.dtype
        np.testing.assert_array_equal(found[value], array)


@needs_tosa
def test_another_operator_is_told_apart() -> None:
    """The comparison sees a bias that is one off in the unit of the output."""
    case = cases()["convolution-plain-int8"]
    assert isinstance(case.op, Convolution)
    other = replace(case.op, bias=case.op.bias + 2**12)
    found = reference_outputs([(Case(other, case.operands).segment(("int8",)), case.fed)])[0]
    assert (found["y0"] != executed(case)["y0"]).any()


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (
            Case(
                replace(cases()["resize"].op, scaling=cases()["add-constant"].op.out),  # type: ignore[type-var, attr-defined]
                (integers(1, (2, 3, 4, 5), "int16"),),
            ),
            "bilinear resizing of int16",
        ),
        (
            Case(AveragePoolInteger((300, 300), (1, 1), (0,) * 4, (0,) * 4), (np.zeros((1, 1, 300, 300), np.int16),)),
            "average pooling with a sum of more than 32 bits",
        ),
        (Case(cases()["widen-int8"].op, (np.zeros((1,) * 7, np.int8),)), r"a tensor of shape \[1, 1, 1, 1, 1, 1, 1\]"),
    ],
)
def test_what_has_no_form_is_named(case: Case, message: str) -> None:
    with pytest.raises(ExportError, match=rf"node 'node': {message}.* has no TOSA form; mark the node float"):
        case.segment(("int8",))
