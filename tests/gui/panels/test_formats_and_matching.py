"""Figures as they are written, and what queries match."""

from __future__ import annotations

import pytest

from engine.reports import Interval
from gui.panels import formats
from gui.panels.matching import parse, searched_text
from tests.gui import samples


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        (None, "–"),
        (Interval(None), "exact"),
        (Interval(31.26), "31.3"),
        (Interval(31.26, 0.44), "31.3 ± 0.4"),
        (Interval(-3.0, 1.0), "−3.0 ± 1.0"),
    ],
)
def test_decibels(interval: Interval | None, text: str) -> None:
    assert formats.decibels(interval) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (1.5e-5, "1.50e−5"), (123.0, "1.23e2"), (None, "–"), (2.0, "2.00e0")]
)
def test_scientific(value: float | None, text: str) -> None:
    assert formats.scientific(value) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 KB"), (2_340_000, "2.34 MB"), (None, "–")]
)
def test_sizes(count: int | None, text: str) -> None:
    assert formats.size(count) == text


@pytest.mark.parametrize(
    ("query", "hits"),
    [
        ("", 6),
        ("conv", 1),
        ("GEMM", 1),
        ("head linear", 1),
        ("16×8×8", 2),
        ("/head/", 2),
        ("/^/stem/", 2),
        ("/Conv|Relu/", 2),
        ("/head/fc/Gemm", 1),
        ("nothing of the kind", 0),
    ],
)
def test_queries(query: str, hits: int) -> None:
    parsed = parse(query)
    assert sum(parsed.matches(searched_text(info)) for info in samples.graph().nodes) == hits


def test_a_broken_expression_says_so_and_matches_nothing() -> None:
    parsed = parse("/(unclosed/")
    assert "not a regular expression" in parsed.problem
    assert not parsed.matches("(unclosed")
