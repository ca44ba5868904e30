"""Sizes of input dimensions as people write them: ``width=320``, or ``x=1x3x224x224`` for every axis of an input."""

from __future__ import annotations

import re
from collections.abc import Iterable

from engine.errors import GraphError

_SIZES = re.compile(r"[1-9][0-9]*(x[1-9][0-9]*)*")


def parse_bindings(texts: Iterable[str]) -> dict[str, int]:
    """``NAME=SIZE`` as a size by name.

    ``INPUT=SIZExSIZE`` is short for ``INPUT.0=SIZE INPUT.1=SIZE``: dimensions without a name are called like that.

    Raises:
        GraphError: A text has neither form, or a size that is not positive.
    """
    bindings: dict[str, int] = {}
    for text in texts:
        name, _, written = text.rpartition("=")
        if not name or not _SIZES.fullmatch(written):
            raise GraphError(f"'{text}' is not a size", hint="write NAME=SIZE, for example width=320 or x=1x3x224x224")
        sizes = [int(size) for size in written.split("x")]
        bindings |= {name: sizes[0]} if len(sizes) == 1 else {f"{name}.{i}": size for i, size in enumerate(sizes)}
    return bindings
