"""Running Vela: where it is found, and what becomes of jobs that it refuses or that end its process.

Where Vela must misbehave, a package of its name stands in for it, run as a process like the real one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from engine.errors import ExportError
from engine.export.ethos_u import vela as module
from engine.export.ethos_u.vela import Job, Vela, find_vela

CRASHES = "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"
LEAVES = "import os; print('out of memory', file=__import__('sys').__stderr__, flush=True); os._exit(3)"
HANGS = "import time; time.sleep(600)"
REFUSES = "raise RuntimeError('Non-passthrough operation (Gather) could not run on NPU')"
BAD_OPTION = "raise VelaError('Error: no such memory mode')"
BAD_ARGUMENT = "import sys; print('usage\\nvela: error: unknown', file=sys.stderr); sys.exit(2)"
COMPILES = "return 0"
STATUS = "return 5"


def stand_in(folder: Path, **answers: str) -> Vela:
    """A program in Vela's place that behaves as is said for each network's name."""
    package = folder / "ethosu" / "vela"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "errors.py").write_text("class VelaError(Exception): pass\n")
    branches = "".join(f"    if name == {name!r}:\n        {answer}\n" for name, answer in answers.items())
    text = "from pathlib import Path\nfrom .errors import VelaError\n\n\ndef main(argv):\n"
    (package / "vela.py").write_text(f"{text}    name = Path(argv[0]).stem\n{branches}")
    return Vela(folder, "0")


def compiled(tmp_path: Path, **answers: str) -> list[str]:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    jobs = [Job(Path(f"{name}.tosa"), Path(name)) for name in answers]
    return stand_in(tmp_path / "stand_in", **answers).compile(jobs, ["--flag"], scratch)


def test_jobs_behind_a_crash_are_still_done(tmp_path: Path) -> None:
    assert compiled(tmp_path, a=COMPILES, b=CRASHES, c=REFUSES, d=LEAVES, e=COMPILES, f=STATUS) == [
        "",
        "it crashed (SIGSEGV)",
        "Non-passthrough operation (Gather) could not run on NPU",
        "it ended with exit status 3: out of memory",
        "",
        "exit status 5",
    ]


def test_no_jobs_start_no_program(tmp_path: Path) -> None:
    assert Vela(tmp_path, "0").compile([], [], tmp_path) == []


def test_a_program_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TIMEOUT_S", 1)
    assert compiled(tmp_path, a=HANGS) == ["it did not end within 1 s"]


@pytest.mark.parametrize(
    ("answer", "message"), [(BAD_OPTION, "no such memory mode"), (BAD_ARGUMENT, "vela: error: unknown")]
)
def test_options_are_blamed_once_and_not_the_network(tmp_path: Path, answer: str, message: str) -> None:
    with pytest.raises(ExportError, match=f"^Vela does not take these options: {message}; change them$"):
        compiled(tmp_path, a=answer, b=COMPILES)


def test_an_interpreter_that_is_gone_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(ExportError, match=r"^Vela cannot be started: No such file or directory$"):
        compiled(tmp_path, a=COMPILES)


def test_missing_extra_names_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(ExportError, match=r"needs the package 'ethos-u-vela'; pip install \"quantscope\[ethos-u\]\"$"):
        find_vela()


def test_it_is_found_with_its_version(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    stand_in(tmp_path)
    metadata = tmp_path / "ethos_u_vela-5.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: ethos-u-vela\nVersion: 5.9\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    assert find_vela() == Vela(tmp_path, "5.9")
