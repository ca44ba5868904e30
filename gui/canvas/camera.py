"""From scene units to the window's pixels and back. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

LEAST_ZOOM = 0.004
MOST_ZOOM = 4.0


@dataclass(frozen=True)
class Camera:
    """pixel = scene · zoom + offset."""

    zoom: float = 1.0
    offset_x: float = 0.0
    offset_y: float = 0.0

    def point(self, x: float, y: float) -> tuple[float, float]:
        """A scene point in pixels."""
        return x * self.zoom + self.offset_x, y * self.zoom + self.offset_y

    def scene_point(self, x: float, y: float) -> tuple[float, float]:
        """A pixel in scene units."""
        return (x - self.offset_x) / self.zoom, (y - self.offset_y) / self.zoom

    def rectangles(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """`[n, 4]` rectangles x, y, width, height in pixels."""
        return boxes * self.zoom + np.array([self.offset_x, self.offset_y, 0.0, 0.0])

    def lines(self, lines: NDArray[np.float64]) -> NDArray[np.float64]:
        """`[n, 4]` lines in pixels."""
        return lines * self.zoom + np.array([self.offset_x, self.offset_y, self.offset_x, self.offset_y])

    def moved(self, dx: float, dy: float) -> Camera:
        """The content moved by so many pixels."""
        return replace(self, offset_x=self.offset_x + dx, offset_y=self.offset_y + dy)

    def zoomed(self, factor: float, x: float, y: float) -> Camera:
        """Magnified by `factor` about a pixel, which keeps its scene point."""
        zoom = min(max(self.zoom * factor, LEAST_ZOOM), MOST_ZOOM)
        scene_x, scene_y = self.scene_point(x, y)
        return Camera(zoom, x - scene_x * zoom, y - scene_y * zoom)

    @staticmethod
    def fitting(
        area: tuple[float, float, float, float],
        room: tuple[float, float, float, float],
        most_zoom: float = 1.0,
    ) -> Camera:
        """Shows a scene rectangle as large as possible, centred in the window's `room` (x, y, width, height)."""
        x, y, width, height = area
        fit = min(room[2] / max(width, 1e-9), room[3] / max(height, 1e-9))
        zoom = min(max(fit, LEAST_ZOOM), most_zoom)
        return Camera(
            zoom,
            room[0] + room[2] / 2 - (x + width / 2) * zoom,
            room[1] + room[3] / 2 - (y + height / 2) * zoom,
        )
