"""Expected errors are one line, name what they concern, and survive the way between processes."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import GraphError, ModelFileError, QuantscopeError

TEXTS = st.text(min_size=1, max_size=60)
KINDS = QuantscopeError.__subclasses__()


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (QuantscopeError("it broke"), "it broke"),
        (ModelFileError("is no ONNX file", path=Path("a.onnx")), "a.onnx: is no ONNX file"),
        (GraphError("unknown operator Foo", node="/x/Foo"), "node '/x/Foo': unknown operator Foo"),
        (GraphError("is unbound", hint="bind it with --dim N=1"), "is unbound; bind it with --dim N=1"),
        (GraphError("m", path="p", node="n", hint="h"), "p: node 'n': m; h"),
        (GraphError("two\n  lines", node="a\nb"), "node 'a b': two lines"),
    ],
)
def test_line(error: QuantscopeError, line: str) -> None:
    assert str(error) == line


@given(message=TEXTS, path=TEXTS, node=TEXTS, hint=TEXTS)
def test_always_one_line(message: str, path: str, node: str, hint: str) -> None:
    assert len(str(QuantscopeError(message, path=path, node=node, hint=hint)).splitlines()) <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_expected_and_survives_pickling(kind: type[QuantscopeError]) -> None:
    error = kind("message", path="file", node="node", hint="hint")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (str(copy), copy.message, copy.path, copy.node, copy.hint) == (
        "file: node 'node': message; hint",
        "message",
        "file",
        "node",
        "hint",
    )
