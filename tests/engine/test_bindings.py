"""Sizes of dimensions as people write them."""

from __future__ import annotations

import pytest

from engine.bindings import parse_bindings
from engine.errors import GraphError


def test_sizes_by_name_and_whole_shapes() -> None:
    assert parse_bindings(["width=320", "x=1x3x224x8"]) == {"width": 320, "x.0": 1, "x.1": 3, "x.2": 224, "x.3": 8}
    assert parse_bindings(["a=b=2"]) == {"a=b": 2}
    assert parse_bindings([]) == {}


@pytest.mark.parametrize("text", ["width", "=3", "width=", "width=0", "x=1x", "x=1x0", "x=-1", "x=1,3", "x=١"])
def test_other_texts(text: str) -> None:
    with pytest.raises(GraphError, match="is not a size; write NAME=SIZE"):
        parse_bindings([text])
