"""A journal keeps what was measured, for as long as it still holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from engine.errors import ProjectError
from engine.plan.data import PlanData
from engine.session import Session
from engine.tune.journal import Journal, context_of, journal_path
from engine.tune.records import Measured, Trial

PLAN = PlanData(choices={"a": "int16", "b": "int8"})
MEASURED = Measured((20.5, 21.25), 0.5, 1.5, 1234)


def written(path: Path, *trials: Trial) -> None:
    journal = Journal(path, "context")
    for trial in trials:
        journal.add(trial, "somewhere", MEASURED)
    journal.close()


def found(path: Path, trial: Trial, context: str = "context") -> Measured | None:
    journal = Journal(path, context)
    try:
        return journal.find(trial)
    finally:
        journal.close()


def test_what_was_measured_is_found_again(journal: Path) -> None:
    written(journal, Trial(PLAN, 8))
    assert found(journal, Trial(PLAN, 8)) == MEASURED
    assert found(journal, Trial(PlanData(choices={"b": "int8", "a": "int16"}), 8)) == MEASURED


@pytest.mark.parametrize(
    ("trial", "context"),
    [(Trial(PLAN, 9), "context"), (Trial(PlanData(), 8), "context"), (Trial(PLAN, 8), "another model")],
)
def test_other_content_is_not(journal: Path, trial: Trial, context: str) -> None:
    written(journal, Trial(PLAN, 8))
    assert found(journal, trial, context) is None


@pytest.mark.parametrize("lost_bytes", [1, 7, 60])
def test_a_torn_last_line_costs_that_line(journal: Path, lost_bytes: int) -> None:
    written(journal, Trial(PLAN, 8), Trial(PLAN, 9))
    journal.write_bytes(journal.read_bytes()[:-lost_bytes])
    assert found(journal, Trial(PLAN, 9)) is None
    written(journal, Trial(PLAN, 10))
    assert found(journal, Trial(PLAN, 8)) == MEASURED
    assert found(journal, Trial(PLAN, 10)) == MEASURED


def test_another_file_is_refused_and_left_as_it_is(journal: Path) -> None:
    journal.write_text("hello\nworld\n")
    with pytest.raises(ProjectError, match="line 1 is no record of a search; remove the file"):
        Journal(journal, "context")
    assert journal.read_text() == "hello\nworld\n"


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot be written"):
        Journal(tmp_path / "gone" / "p.tune.jsonl", "context")


def test_a_full_disk_is_said_and_costs_one_line(journal: Path) -> None:
    resource = pytest.importorskip("resource")
    written(journal, Trial(PLAN, 8))
    kept = Journal(journal, "context")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 8, before[1]))
    try:
        with pytest.raises(ProjectError, match="cannot be written"):
            kept.add(Trial(PLAN, 9), "somewhere", MEASURED)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        kept.close()
    assert found(journal, Trial(PLAN, 8)) == MEASURED
    assert found(journal, Trial(PLAN, 9)) is None


def test_without_a_file_it_is_in_memory() -> None:
    journal = Journal(None, "context")
    journal.add(Trial(PLAN, 8), "somewhere", MEASURED)
    assert journal.find(Trial(PLAN, 8)) == MEASURED


def test_context_follows_what_figures_depend_on(session: Session) -> None:
    before = context_of(session)
    session.set_plan(replace(session.plan, default_method="max"))
    assert context_of(session) == before
    session.set_target("bayes-e-x5")
    assert context_of(session) != before


def test_it_lies_beside_the_project() -> None:
    assert journal_path(Path("a/b.qscope")) == Path("a/b.tune.jsonl")
