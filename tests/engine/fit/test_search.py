"""The search finds minima within bounds."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.fit.search import minimum


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-2.0, 2.0), min_size=1, max_size=5), st.floats(0.2, 1.5))
def test_the_nearest_place_within_bounds_of_a_bowl_is_found(centre: list[float], reach: float) -> None:
    goal = np.array(centre)
    weights = np.arange(1.0, len(goal) + 1.0)
    found = minimum(
        lambda x: float(np.sum(weights * (x - goal) ** 2)),
        np.zeros(len(goal)),
        np.full(len(goal), -reach),
        np.full(len(goal), reach),
        3000,
    )
    np.testing.assert_allclose(found, np.clip(goal, -reach, reach), atol=5e-3)


def test_a_bent_valley_is_followed() -> None:
    """Rosenbrock's function."""
    bound = np.full(2, 5.0)
    found = minimum(
        lambda x: float((1.0 - x[0]) ** 2 + 100.0 * (x[1] - x[0] ** 2) ** 2), np.array([-1.2, 1.0]), -bound, bound, 3000
    )
    np.testing.assert_allclose(found, [1.0, 1.0], atol=1e-3)
