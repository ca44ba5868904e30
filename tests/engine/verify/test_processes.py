"""Programs that end badly: an error with one line, and nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from engine.errors import Cancelled, ThirdPartyError
from engine.verify import processes
from engine.verify.processes import run_program

Script = Callable[[str], object]


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Script:
    """Puts a program of the given text in the place of all others, as ``program``."""
    monkeypatch.setattr(processes, "_PROGRAMS", tmp_path)
    return lambda text: (tmp_path / "program.py").write_text(text, encoding="utf-8")


def test_arguments_reach_the_program_and_the_engine_is_this_one(script: Script, tmp_path: Path) -> None:
    script("import sys, engine; open(sys.argv[1], 'w').write(engine.__file__)")
    run_program("program", [str(tmp_path / "out")], "the program")
    assert (tmp_path / "out").read_text() == processes.engine.__file__


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os; os.abort()", "the program was ended by SIGABRT"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "the program was ended by SIGKILL"),
        ("raise ValueError('no such\\n operator')", "the program ended with status 1: operator"),
        ("import sys; sys.exit(3)", "the program ended with status 3"),
    ],
)
def test_a_bad_end_is_one_line(script: Script, text: str, message: str) -> None:
    script(text)
    with pytest.raises(ThirdPartyError) as caught:
        run_program("program", [], "the program")
    assert str(caught.value) == message


def test_one_that_hangs_is_ended(script: Script) -> None:
    script("import time; time.sleep(60)")
    with pytest.raises(ThirdPartyError, match=r"the program took more than 0\.1 s and was ended"):
        run_program("program", [], "the program", timeout_s=0.1)


def test_the_user_ends_it(script: Script) -> None:
    script("import time; time.sleep(60)")
    asked = count()
    with pytest.raises(Cancelled):
        run_program("program", [], "the program", lambda: next(asked) >= 2)
