"""The additive model finds shares that add up, and never guesses nonsense."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.tune.space import Genome
from engine.tune.surrogate import AdditiveModel

SIZES = (2, 3, 2, 2)
SHARES = ((0.0, -0.3), (0.0, -0.1, 0.2), (0.0, 0.05), (0.0, 0.0))


def figure(genome: Genome) -> float:
    return 1.0 + sum(share[option] for share, option in zip(SHARES, genome, strict=True))


def single_changes() -> list[Genome]:
    origin = (0,) * len(SIZES)
    changes = [(place, option) for place, size in enumerate(SIZES) for option in range(1, size)]
    return [origin, *((*origin[:place], option, *origin[place + 1 :]) for place, option in changes)]


def test_single_changes_give_the_shares() -> None:
    model = AdditiveModel(SIZES, spread=0.3)
    genomes = single_changes()
    model.fit(genomes, [figure(genome) for genome in genomes])
    for place, shares in enumerate(SHARES):
        for option, share in enumerate(shares):
            assert model.share(place, option) == pytest.approx(share, abs=0.01)
    assert model.guess((1, 1, 1, 1)) == pytest.approx(figure((1, 1, 1, 1)), abs=0.02)


@given(st.lists(st.tuples(*(st.integers(0, size - 1) for size in SIZES)), min_size=1, max_size=40))
def test_guesses_are_positive_and_near_what_was_measured(genomes: list[Genome]) -> None:
    model = AdditiveModel(SIZES, spread=0.3)
    model.fit(genomes, [figure(genome) for genome in genomes])
    for genome in genomes:
        assert model.guess(genome) == pytest.approx(figure(genome), rel=0.1)
    assert all(model.guess(genome) > 0 for genome in np.ndindex(*SIZES))


def test_an_option_that_was_never_measured_adds_nothing() -> None:
    model = AdditiveModel(SIZES, spread=0.3)
    model.fit([(0, 0, 0, 0), (1, 0, 0, 0)], [1.0, 0.7])
    assert model.share(1, 2) == 0.0


def test_what_was_learned_before_is_forgotten() -> None:
    model = AdditiveModel(SIZES, spread=0.3)
    model.fit([(0, 0, 0, 0), (1, 0, 0, 0)], [1.0, 0.7])
    model.fit([(0, 0, 0, 0)], [2.0])
    assert model.guess((1, 0, 0, 0)) == pytest.approx(2.0)
