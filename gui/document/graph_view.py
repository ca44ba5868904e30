"""Which of its two forms the graph is shown in."""

from __future__ import annotations

from enum import Enum


class GraphView(Enum):
    """The operators as the user marks them, or the kernels that the compiler made of them."""

    SOURCE = "source"
    COMPILED = "compiled"
