from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import PackageError
from engine.export.records import ArrayStore, allowed_classes, array_digest, decode, decode_op, encode
from engine.ops.elementwise import Clip
from engine.ops.layout import Gather, Transpose
from engine.ops.other import OnnxOp
from engine.program.arithmetic import scaling_for
from engine.program.types import AddScaled, DataMovement, FloatKernel, Output, ProgramOp, Quantise, ResizeLinear, Table8

INT8 = Output("int8", -127, 127)
INDICES = np.arange(4, dtype=np.int32)
OPERATORS: list[ProgramOp] = [
    Quantise(0.1, INT8),
    Table8(np.arange(-128, 128).astype(np.int8)),
    AddScaled(scaling_for(0.3), None, scaling_for([0.1, 0.2]), INT8),
    DataMovement(Gather(1, (2, 0), (1, 2)), fill=3),
    DataMovement(Transpose((1, 0))),
    FloatKernel(Clip(-math.inf, 6.0)),
    FloatKernel(OnnxOp("CumSum", "", 14, b"\x00\xff")),
    ResizeLinear((INDICES,), (INDICES,), (INDICES,), scaling_for(1.0), INT8),
]


def round_trip(op: ProgramOp) -> ProgramOp:
    store = ArrayStore()
    record = json.loads(json.dumps(encode(op, store)))
    arrays = dict(store)
    return decode_op(record, arrays.__getitem__)


@pytest.mark.parametrize("op", OPERATORS, ids=lambda op: type(op).__name__)
def test_operators_survive_the_journey(op: ProgramOp) -> None:
    found = round_trip(op)
    assert type(found) is type(op)
    assert found.digest == op.digest


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_numbers_keep_all_their_bits(low: float, high: float) -> None:
    found = round_trip(FloatKernel(Clip(low, high)))
    assert isinstance(found, FloatKernel)
    assert found.op == Clip(low, high)


def test_every_program_operator_is_allowed() -> None:
    classes = [ProgramOp]
    for cls in classes:
        classes.extend(cls.__subclasses__())
    ours = {cls.__name__ for cls in classes[1:] if cls.__module__.startswith("engine")}
    assert ours <= allowed_classes().keys()


def test_an_array_is_stored_once() -> None:
    store = ArrayStore()
    first, second = store.put(np.zeros(3, np.int8)), store.put(np.zeros(3, np.int8))
    assert first == second
    assert first != store.put(np.zeros(3, np.int16)) != store.put(np.zeros((3, 1), np.int8))
    assert len(list(store)) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "Popen"}, "unknown operator 'Popen'"),
        ({"class": None}, "unknown operator None"),
        ({"scale": "1"}, "field 'scale' of Quantise holds '1', which is not a float"),
        ({"scale": None}, "not a float"),
        ({"output": 3}, "not a Output"),
        ({"surprise": 1}, "has fields"),
    ],
)
def test_records_that_fit_no_class_are_refused(change: dict[str, object], message: str) -> None:
    record = encode(Quantise(0.1, INT8), ArrayStore()) | change
    with pytest.raises(PackageError, match=message):
        decode(record, {}.__getitem__)


@pytest.mark.parametrize("record", [{"bytes": "?"}, {"bytes": 3}, {"float": "1e999"}, {"array": 3}])
def test_malformed_tags_are_refused(record: dict[str, object]) -> None:
    with pytest.raises(PackageError):
        decode(record, {}.__getitem__)


def test_array_of_the_wrong_type_is_refused() -> None:
    store = ArrayStore()
    record = encode(scaling_for(0.5), store)
    wrong = np.zeros(1, np.float32)
    with pytest.raises(PackageError, match=r"holds float32\[1\]"):
        decode(record, lambda digest: wrong)


def test_instruction_must_hold_a_program_operator() -> None:
    with pytest.raises(PackageError, match="holds Output"):
        decode_op(encode(INT8, ArrayStore()), {}.__getitem__)


def test_what_is_not_an_operator_is_not_written() -> None:
    with pytest.raises(TypeError, match="no place"):
        encode(object(), ArrayStore())


def test_digest_sees_type_shape_and_values() -> None:
    arrays = [np.zeros(4, np.int8), np.zeros(4, np.uint8), np.zeros((2, 2), np.int8), np.ones(4, np.int8)]
    assert len({array_digest(array) for array in arrays}) == len(arrays)
