"""Which figure colours the graph, the table and the hierarchy. Qt-free."""

from __future__ import annotations

from enum import StrEnum


class Overlay(StrEnum):
    """The heat map's figure. The values are also what the command line calls them."""

    NONE = "none"
    ACCUMULATED = "accumulated"
    INTRODUCED = "introduced"
    SENSITIVITY = "sensitivity"
    LATENCY = "latency"
    BOUND = "bound"
