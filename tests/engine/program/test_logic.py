"""Comparison, selection, indices and functions of wide integers: kernels against plain statements, and their errors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.ops import logic
from engine.program.arithmetic import scaling_for
from engine.program.functions import logarithm, logarithm_reference, square_root, square_root_reference
from engine.program.types import (
    CompareScaled,
    ExtremeIndex,
    Requantise,
    Scaling,
    SelectScaled,
    TruthLogic,
    WideSum,
)
from tests.engine.program.test_kernels import (
    DTYPES,
    INT8,
    INT16,
    SHAPES,
    bounded,
    check,
    integers,
    layouts,
    output_of,
    seeds,
    thread_count,
)

__all__ = ["thread_count"]

RELATIONS = (logic.Equal(), logic.Greater(), logic.GreaterOrEqual(), logic.Less(), logic.LessOrEqual())
PAIRS = st.sampled_from((("int8", "int8"), ("int16", "int16"), ("int8", "int16")))
INTO: tuple[Scaling | None, ...] = (None, scaling_for(1.0), scaling_for(0.37))


def truth(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(np.random.default_rng(seed).random(shape) < 0.5)


def wide(seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """int32 of every magnitude, zeros and the extremes among them."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-(2**31) + 1, 2**31, shape) >> rng.integers(0, 32, shape)
    ends = rng.integers(0, 8, shape)
    return np.asarray(np.select([ends == 0, ends == 1], [-(2**31) + 1, 2**31 - 1], values), np.int32)


@bounded
@given(seeds, SHAPES, layouts, PAIRS, st.sampled_from(RELATIONS), st.sampled_from(INTO), st.sampled_from(INTO))
def test_comparison(
    seed: int, shapes: tuple[tuple[int, ...], tuple[int, ...]], layout: str, dtypes: tuple[str, str],
    relation: logic.Comparison, first: Scaling | None, second: Scaling | None,
) -> None:  # fmt: skip
    layout = layout if min(map(len, shapes)) > 1 else "plain"
    a, b = (integers(seed + i, shape, dtype) for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)))
    check(CompareScaled(relation, first, second), a, b, layout=layout)
    check(CompareScaled(relation, first, None), a, np.asarray(wide(seed, shapes[1]) >> 20, np.int32))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("relation", RELATIONS, ids=lambda op: op.type_name)
def test_comparison_with_one_number_beyond_the_other_type(relation: logic.Comparison, dtype: str) -> None:
    """-160 as int8 would be 96."""
    x = integers(5, (3, 40), dtype)
    for number in (-160, 160, 2**20, -(2**30)):
        check(CompareScaled(relation, None, None), x, np.array(number, np.int32))
        check(CompareScaled(relation, None, None), np.array(number, np.int32), x)


@pytest.mark.parametrize("op", [logic.And(), logic.Or(), logic.Xor()], ids=lambda op: op.type_name)
def test_logic(op: logic.Logic) -> None:
    check(TruthLogic(op), truth(1, (2, 3, 4)), truth(2, (3, 1)))
    check(TruthLogic(logic.Not()), truth(3, (5, 4)))


@bounded
@given(seeds, SHAPES, layouts, PAIRS, st.booleans())
def test_selection(
    seed: int, shapes: tuple[tuple[int, ...], tuple[int, ...]], layout: str, dtypes: tuple[str, str], first: bool
) -> None:
    layout = layout if min(map(len, shapes)) > 1 else "plain"
    a, b = (integers(seed + i, shape, dtype) for i, (shape, dtype) in enumerate(zip(shapes, dtypes, strict=True)))
    output = output_of(dtypes[1], rectified=seed % 2 == 0)
    condition = truth(seed, shapes[seed % 2])
    check(SelectScaled(scaling_for(0.7), scaling_for(300.5), output), condition, a, b, layout=layout)
    check(SelectScaled(scaling_for(0.7), None, output), condition, a, b)
    if first:
        check(SelectScaled(None, None, output), condition, wide(seed, ()), wide(seed + 1, ()))


@bounded
@given(seeds, st.sampled_from(DTYPES), layouts, st.integers(0, 2), st.booleans(), st.booleans(), st.booleans())
def test_index_of_extremes(
    seed: int, dtype: str, layout: str, axis: int, keepdims: bool, maximum: bool, last: bool
) -> None:
    """The many extremes among the integers make ties."""
    x = integers(seed, (3, 5, 7), dtype)
    check(ExtremeIndex(axis, keepdims, maximum, last), x, layout=layout)
    check(ExtremeIndex(axis, keepdims, maximum, last), np.full_like(x, -128 if dtype == "int8" else -32768))


@bounded
@given(seeds, st.sampled_from(DTYPES), layouts, st.sampled_from(((), (0,), (1, 2), (0, 1, 2))), st.booleans())
def test_wide_sums(seed: int, dtype: str, layout: str, axes: tuple[int, ...], keepdims: bool) -> None:
    x = integers(seed, (3, 5, 7), dtype)
    x.flat[0] = np.iinfo(x.dtype).min
    for term, shift in (("value", 0), ("magnitude", seed % 3), ("square", 7)):
        check(WideSum(axes, keepdims, term, shift), x, layout=layout)


@bounded
@given(seeds, layouts)
def test_functions_of_wide_integers(seed: int, layout: str) -> None:
    x, output = wide(seed, (7, 300)), INT8 if seed % 2 else INT16
    scale = 10.0 ** (seed % 9 - 6)
    check(logarithm(scale, 40.0 / output.high, output), x, layout=layout)
    check(square_root(scale, (2.0**31 * scale) ** 0.5 / output.high, output), x, layout=layout)
    check(Requantise(scaling_for(2.0**-16), output), x, layout=layout)


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_narrow_integers(dtype: str) -> None:
    info = np.iinfo(dtype)
    x = np.arange(info.min, info.max + 1).astype(dtype)
    check(logarithm(1.0 / info.max, 12.0 / 32767, INT16), x)
    check(square_root(1.0 / info.max, 1.0 / 32767, INT16), x)


def test_the_logarithm_errs_by_two_hundred_thousandths() -> None:
    x = np.unique(wide(5, (60_000,)).clip(1))
    found = logarithm_reference(x, logarithm(1e-6, 16.0 / 32767, INT16)).astype(np.float64) * (16.0 / 32767)
    assert np.abs(found - np.log(x * 1e-6)).max() < 2e-5 + 0.5 * 16.0 / 32767
    assert logarithm_reference(np.array([0, -5], np.int32), logarithm(1.0, 0.1, INT8)).tolist() == [-127, -127]


def test_the_root_errs_by_five_hundred_thousandths_of_its_value() -> None:
    for scale in (1.0, 1e-5):
        x = np.unique(np.geomspace(2**20, 2**31 - 1, 5000).astype(np.int32))
        out = np.sqrt(2.0**31 * scale) / 32767
        found = square_root_reference(x, square_root(scale, out, INT16)).astype(np.float64) * out
        exact = np.sqrt(x * scale)
        assert (np.abs(found - exact) < 5e-5 * exact + 0.51 * out).all()
    assert square_root_reference(np.array([0, -5, 1], np.int32), square_root(1.0, 0.01, INT8)).tolist() == [0, 0, 100]
