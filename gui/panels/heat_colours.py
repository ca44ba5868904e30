"""The canvas's heat colours for the other panels."""

from __future__ import annotations

import numpy as np

from gui.canvas.heat import colour_index, colour_table, needs_white_text, positions
from gui.panels.overlays import Heat


class HeatColours:
    """Fill and text colour of values on a heat map's scale. Without a scale there are none."""

    def __init__(self, heat: Heat) -> None:
        self._scale = heat.scale
        if heat.scale is not None:
            self._fills = colour_table(heat.scale.colour_map).tolist()
            self._white = needs_white_text(heat.scale.colour_map)

    def of(self, value: float | None) -> tuple[str, str] | None:
        """Fill and text as #rrggbb; None for no value."""
        if self._scale is None or value is None:
            return None
        index = int(colour_index(positions(np.array([value], dtype=np.float64), self._scale))[0])
        if index < 0:
            return None
        red, green, blue = self._fills[index]
        return f"#{red:02x}{green:02x}{blue:02x}", "#ffffff" if self._white[index] else "#000000"
