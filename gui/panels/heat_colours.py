"""The canvas's heat colours for the other panels."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import numpy as np

from gui.canvas.heat import colour_index, colour_table, needs_white_text, positions
from gui.canvas.scene import HeatScale
from gui.panels.overlays import Heat

Colours = tuple[str, str] | None
"""Fill and text as #rrggbb; None for no value."""


class HeatColours:
    """Fill and text colour of values on a heat map's scale. Without a scale there are none."""

    def __init__(self, heat: Heat) -> None:
        self._heat = heat

    def of(self, value: float | None) -> Colours:
        """The colours of a value."""
        scale = self._heat.scale
        if scale is None or value is None:
            return None
        if value not in self._known:
            self._known[value] = _colours([value], scale)[0]
        return self._known[value]

    @cached_property
    def _known(self) -> dict[float, Colours]:
        """All of the heat map's values at once: a table asks for hundreds while it is painted."""
        values = list(self._heat.values.values())
        scale = self._heat.scale
        return {} if scale is None else dict(zip(values, _colours(values, scale), strict=True))


def _colours(values: Iterable[float], scale: HeatScale) -> list[Colours]:
    fills, is_white = colour_table(scale.colour_map).tolist(), needs_white_text(scale.colour_map)
    indices = colour_index(positions(np.array(list(values), dtype=np.float64), scale)).tolist()
    return [
        None if i < 0 else ("#{:02x}{:02x}{:02x}".format(*fills[i]), "#ffffff" if is_white[i] else "#000000")
        for i in indices
    ]
