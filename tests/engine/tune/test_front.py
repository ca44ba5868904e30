"""What is on a front, and what stays of it when it is thinned."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.tune.front import Costs, area_above, dominates, front_of, reachable_loss, thinned

costs = st.tuples(*(st.integers(0, 6).map(float) for _ in range(3)))
clouds = st.lists(costs, min_size=1, max_size=25)


@given(clouds)
def test_front_is_what_nothing_dominates(points: list[Costs]) -> None:
    front = {points[index] for index in front_of(points)}
    assert front == {point for point in points if not any(dominates(other, point) for other in points)}


@given(clouds)
def test_everything_is_beaten_or_equalled_by_the_front(points: list[Costs]) -> None:
    front = [points[index] for index in front_of(points)]
    for loss, latency, ddr in points:
        reached = reachable_loss(front, latency, ddr)
        assert reached is not None and reached <= loss


@given(clouds)
def test_front_is_ordered_by_latency_and_has_each_point_once(points: list[Costs]) -> None:
    front = [points[index] for index in front_of(points)]
    assert [point[1] for point in front] == sorted(point[1] for point in front)
    assert len(set(front)) == len(front)


@given(clouds, costs)
def test_area_grows_with_the_front(points: list[Costs], point: Costs) -> None:
    assert area_above([*points, point], (7.0, 7.0)) >= area_above(points, (7.0, 7.0))


def test_area_of_a_staircase() -> None:
    assert area_above([(1.0, 1.0, 0.0), (0.0, 3.0, 0.0)], (2.0, 4.0)) == 3.0 * 1.0 + 1.0 * 1.0


@given(clouds, st.integers(1, 8))
def test_thinning_keeps_the_ends(points: list[Costs], most: int) -> None:
    front = front_of(points)
    kept = thinned(points, front, most)
    assert len(kept) <= max(most, 3)
    assert [index for index in front if index in kept] == kept
    for axis in range(3):
        assert min(points[index][axis] for index in kept) == min(points[index][axis] for index in front)


def test_thinning_drops_what_the_staircase_misses_least() -> None:
    points = [(3.0, 1.0, 0.0), (1.9, 2.0, 0.0), (1.85, 2.3, 0.0), (0.0, 4.0, 0.0)]
    assert thinned(points, [0, 1, 2, 3], 3) == [0, 1, 3]


def test_nothing_is_reachable_below_the_cheapest() -> None:
    assert reachable_loss([(1.0, 2.0, 3.0)], 1.9, 9.0) is None
