"""A line drawn by hand around boxes, against Qt's polygons."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QPolygonF

from gui.canvas.lasso import Lasso

# Middles of boxes on odd numbers, points on even ones: none lies on a line's end.
BOXES = np.array([[20.0 * x + 1.0, 20.0 * y + 1.0, 10.0, 8.0] for x in range(6) for y in range(6)])
POINT = st.tuples(st.integers(-5, 65), st.integers(-5, 65)).map(lambda p: (2.0 * p[0] + 0.25, 2.0 * p[1] + 0.25))


def drawn(points: list[tuple[float, float]]) -> Lasso:
    lasso = Lasso(BOXES, points[0])
    for point in points[1:]:
        lasso.extend(point)
    return lasso


@given(st.lists(POINT, min_size=3, max_size=12))
def test_what_is_inside_is_taken_and_what_is_far_from_the_line_is_not(points: list[tuple[float, float]]) -> None:
    taken = set(drawn(points).taken().tolist())
    polygon = QPolygonF([QPointF(x, y) for x, y in points])
    for box, (x, y, width, height) in enumerate(BOXES.tolist()):
        middle = QPointF(x + width / 2, y + height / 2)
        if polygon.containsPoint(middle, Qt.FillRule.OddEvenFill):
            assert box in taken
        elif box in taken:
            heart = QRectF(x + width / 4, y + height / 4, width / 2, height / 2)
            assert any(crosses(heart, a, b) for a, b in pairwise(points))


def crosses(area: QRectF, start: tuple[float, float], end: tuple[float, float]) -> bool:
    """Whether one of many points of a stretch is in an area grown by what lies between two of them."""
    shares = np.linspace(0.0, 1.0, 400)[:, None]
    along = np.array(start) + shares * (np.array(end) - np.array(start))
    near = area.adjusted(-0.5, -0.5, 0.5, 0.5)
    low, high = (near.left(), near.top()), (near.right(), near.bottom())
    return bool(((along >= low) & (along <= high)).all(axis=1).any())


def test_a_line_along_boxes_takes_them_and_brushing_does_not() -> None:
    assert drawn([(6.0, 0.0), (6.0, 50.0)]).taken().tolist() == [0, 1, 2]
    assert drawn([(1.5, 0.0), (1.5, 50.0)]).taken().tolist() == []
    assert drawn([(6.0, 5.0)]).taken().tolist() == []


def test_a_lasso_that_shrinks_lets_go() -> None:
    lasso = drawn([(-5.0, -5.0), (50.0, -5.0), (50.0, 50.0), (-5.0, 50.0)])
    assert len(lasso.taken()) == 9
    for point in ((15.0, 50.0), (15.0, 15.0), (15.0, -4.0)):
        lasso.extend(point)
    assert set(lasso.taken().tolist()) == {6, 7, 8, 12, 13, 14}
