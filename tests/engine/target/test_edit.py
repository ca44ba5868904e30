"""Targets with other figures, and as text."""

from __future__ import annotations

import pytest

from engine.target.edit import figure_at, target_text, with_figures, with_stated_error
from engine.target.figures import Figure
from engine.target.target import StatedError, figures, list_targets, load_target, parse_target


@pytest.mark.parametrize("name", [summary.name for summary in list_targets()])
def test_the_text_of_a_target_is_the_target(name: str) -> None:
    target = load_target(name)
    assert parse_target(target_text(target, "two\nlines").encode(), "again.toml") == target


def test_changed_figures_are_the_only_change() -> None:
    target = load_target("bayes-e-x5")
    new = Figure(3.5, "GB/s", "fitted: to nothing")
    changed = with_figures(target, {"dma.bandwidth": new, "sram.bandwidth": new})
    assert figure_at(changed, "dma.bandwidth") == new
    different = [path for (path, a), (_, b) in zip(figures(target), figures(changed), strict=True) if a != b]
    assert different == ["sram.bandwidth", "dma.bandwidth"]
    assert with_figures(changed, {path: figure_at(target, path) for path in different}) == target


def test_an_unknown_section_is_a_defect() -> None:
    with pytest.raises(KeyError, match="engines"):
        with_figures(load_target("journey5"), {"engines.count": Figure(1.0, "x", "assumed: y")})


def test_a_stated_error_names_what_was_compared() -> None:
    figure = Figure(12.0, "%", "fitted: z")
    target = with_stated_error(load_target("journey5"), StatedError(throughput=figure, latency=figure, note="Read on."))
    assert target.stated_error.text == "Throughput off by 12 % and latency off by 12 % on average. Read on."
    assert StatedError().text == "Never compared with measurements."
