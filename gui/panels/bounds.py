"""What bounds the time of a kernel, as the window names and colours it. Qt-free."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from gui.theme import BOUND_COLOURS


@dataclass(frozen=True)
class Bound:
    """One of the things that time goes to; ``key`` as the engine writes it."""

    key: str
    title: str
    meaning: str

    @property
    def colour(self) -> str:
        return BOUND_COLOURS[self.key]


BOUNDS: Mapping[str, Bound] = MappingProxyType(
    {
        bound.key: bound
        for bound in (
            Bound("mac", "MAC", "The multiply-accumulate array"),
            Bound("vector", "Vector", "The vector unit"),
            Bound("lut", "LUT", "The look-up tables"),
            Bound("dma", "DMA", "Moving data between DDR and the chip"),
            Bound("layout", "Layout", "Rearranging data on the chip"),
            Bound("cpu", "CPU", "The CPU, for what the accelerator cannot run"),
            Bound("launch", "Launch", "Starting an inference or a kernel"),
        )
    }
)

_OF_ENGINE = MappingProxyType({"load": "dma", "store": "dma", "table": "lut", "host": "launch"})
_ENGINE_TITLES = MappingProxyType({"load": "Load", "store": "Store", "table": "Table", "host": "Host"})


def bound_of(engine: str) -> Bound | None:
    """What it is to be bound by an engine (``load`` and ``store`` are both DMA), or by what the engine process calls a
    bound; None for a kernel without time of its own, or an unknown name.
    """
    name = engine.lower().rstrip("0123456789_ ")
    return BOUNDS.get(_OF_ENGINE.get(name, name))


def bound_title(bound: str) -> str:
    """What a table says a node is bound by; "" for what takes no time."""
    found = bound_of(bound)
    return found.title if found is not None else ""


def engine_title(engine: str) -> str:
    """How a lane is headed."""
    if engine in _ENGINE_TITLES:
        return _ENGINE_TITLES[engine]
    return BOUNDS[engine].title if engine in BOUNDS else engine
