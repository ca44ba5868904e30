"""The TOML writer against Python's own reader."""

from __future__ import annotations

import math
import tomllib

from hypothesis import given
from hypothesis import strategies as st

from engine import toml_io

# TOML knows no lone surrogates; everything else may be in a name.
TEXT = st.text(st.characters(exclude_categories=("Cs",)))
SCALARS = st.one_of(TEXT, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXT, inner, max_size=4)),
    max_leaves=8,
)


@given(st.dictionaries(TEXT, VALUES, max_size=5))
def test_round_trip(table: dict[str, toml_io.Value]) -> None:
    lines = list(toml_io.entries(table))
    assert all("\n" not in line for line in lines)
    assert tomllib.loads("\n".join(lines)) == table


def test_spelling() -> None:
    assert toml_io.entry("a-b_1", 1.0) == "a-b_1 = 1.0"
    assert toml_io.entry("/blocks.0/x", "int16") == '"/blocks.0/x" = "int16"'
    assert toml_io.entry("r", {"min": -1e-05, "max": 2}) == "r = { min = -1e-05, max = 2 }"
    assert toml_io.entry("e", {}) == "e = {}"
    assert toml_io.entry("l", [True, "a\nb\x7f"]) == 'l = [true, "a\\nb\\u007F"]'
    assert math.isnan(tomllib.loads(toml_io.entry("n", math.nan))["n"])
