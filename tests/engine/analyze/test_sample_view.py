"""A sample as a person knows it: its picture as it was taken, and what both models choose."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.analyze.distribution import distribution
from engine.analyze.evaluator import Sample
from engine.analyze.sample_view import MOST_SIDE, picture_of, sample_view
from engine.calibrate.recipe import Recipe
from engine.session import Session
from engine.session_file import DataSource

STEM = "/stem/conv/Conv"


def pixels(session: Session, array: NDArray[np.generic]) -> NDArray[np.uint8] | None:
    found = picture_of(session, Sample.of({"x": array}))
    return None if found is None else np.frombuffer(found.pixels, np.uint8).reshape(found.height, found.width, 3)


def test_a_sample_has_its_error_its_classes_and_its_picture(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    sample = list(session.samples(2))[1]
    view = sample_view(session, 1, sample)
    runs = (session.run_float, session.run)
    expected, made = (np.asarray(next(iter(run(sample.inputs).values())), np.float64) for run in runs)
    ratio = float(np.square(expected).sum()) / float(np.square(expected - made).sum())
    assert view.output_db == pytest.approx(10.0 * np.log10(ratio))
    assert (view.float_class, view.made_class) == (int(expected.argmax()), int(made.argmax()))
    assert view.picture is not None
    assert (view.picture.width, view.picture.height) == (28, 28)
    assert distribution(session, STEM, samples=2, sample=1).view == view
    assert distribution(session, STEM, samples=2).view is None, "all samples together are no picture"


def test_the_recipe_is_undone(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    taken = np.random.default_rng(2).integers(0, 256, (9, 10, 3)).astype(np.float64)
    recipe = Recipe(size=(9, 10), channels="BGR", mean=(10.0, 20.0, 30.0), scale=(2.0, 3.0, 4.0))
    assert session.data is not None
    session.data = DataSource(session.data.path, recipe)
    fed = (taken[:, :, ::-1] - recipe.channel_means) / recipe.channel_scales
    for array in (fed[None], np.moveaxis(fed, -1, 0)[None]):
        found = pixels(session, array.astype(np.float32))
        assert found is not None
        np.testing.assert_array_equal(found, taken)


def test_without_a_recipe_it_goes_from_black_to_white(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    session.data = None
    ramp = np.linspace(-3.0, 5.0, 600 * 16, dtype=np.float32).reshape(1, 1, 16, 600)
    found = pixels(session, ramp)
    assert found is not None
    assert found.shape[1] <= MOST_SIDE
    assert found[0, 0].tolist() == [0, 0, 0]
    assert found.max() >= 250
    flat = pixels(session, np.ones((1, 3, 8, 8), np.float32))
    assert flat is not None
    assert not flat.any()


@pytest.mark.parametrize("shape", [(1, 16), (1, 3, 4, 4), (1, 5, 16, 16), (0, 3, 16, 16)])
def test_what_is_no_picture_has_none(open_mobile: Callable[[], Session], shape: tuple[int, ...]) -> None:
    assert pixels(open_mobile(), np.zeros(shape, np.float32)) is None
