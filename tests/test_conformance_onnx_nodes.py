"""The conformance program, on one of ONNX's node cases for each list of operators."""

from __future__ import annotations

import pytest

from tests.conformance.onnx_nodes import Outcome, main, outcome_of, quick, report


def test_one_case_of_each_kind_agrees() -> None:
    outcomes = [outcome_of(case) for case in quick()]
    assert [f"{outcome.name}: {outcome.error}" for outcome in outcomes if outcome.error] == []
    run = [outcome for outcome in outcomes if not outcome.left_out]
    assert len(run) > 250
    assert any(outcome.whole for outcome in run)


def test_names_choose_cases_and_the_count_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sequence_insert", "--list"]) == 0
    printed = capsys.readouterr().out
    assert "left out test_sequence_insert_at_back: takes a sequence of int64" in printed
    assert "0 run, 0 agree, 0 fail, 2 left out" in printed
    assert main(["no_such_case"]) == 1


def test_failures_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [Outcome("a"), Outcome("b", error="is wrong"), Outcome("c", left_out="takes text")]
    assert report(outcomes, listed=False) == 1
    printed = capsys.readouterr().out
    assert "FAIL b: is wrong" in printed and "3 node cases, 2 run, 1 agree, 1 fail, 1 left out" in printed
