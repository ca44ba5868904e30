"""Quantscope's engine: from a model file to an exact integer program, its errors and its latency; no Qt here.

Importing this package loads nothing heavy. ``engine.Session`` is resolved on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.session import Session

__all__ = ["Session"]


def __getattr__(name: str) -> object:
    """Import :class:`engine.session.Session` when it is first asked for, so that ``--help`` stays fast."""
    if name == "Session":
        from engine.session import Session

        return Session
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
