"""Errors are felt in front of what squashes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.analyze.felt import felt_values
from engine.session import Session


def test_it_is_in_front_of_a_softmax_and_of_what_moves_its_result(softmax_project: Path) -> None:
    session = Session.open(softmax_project)
    assert session.graph.outputs == ("probabilities",)
    assert felt_values(session.graph, session.program().value_of) == ("logits",)


def test_it_is_the_output_without_a_softmax_or_where_what_that_reads_is_not_made(
    softmax_project: Path, open_mobile: Callable[[], Session]
) -> None:
    session = open_mobile()
    assert felt_values(session.graph, session.program().value_of) == session.graph.outputs == ("logits",)
    assert felt_values(Session.open(softmax_project).graph, {"probabilities"}) == ("probabilities",)
