"""The program that runs the benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import __main__ as runner


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """Four modules: one that works, one without data, a helper, and one that is private."""
    folder = tmp_path / "measure"
    folder.mkdir()
    (folder / "works.py").write_text('"""Counts.\n\nMore."""\n\n\ndef main():\n    pass\n\n\nprint("figure 7")\n')
    (folder / "lacks.py").write_text('"""Needs data."""\n\n\ndef main():\n    pass\n\n\nraise SystemExit(1)\n')
    (folder / "helper.py").write_text('"""Helps."""\n')
    (folder / "__main__.py").write_text("def main():\n    pass\n")
    return folder


def test_finds_modules_with_a_main(package: Path) -> None:
    found = [(item.name, item.summary) for item in runner.benchmarks(package)]
    assert found == [("lacks", "Needs data."), ("works", "Counts.")]


def test_goes_on_after_one_that_cannot_run(package: Path, capfd: pytest.CaptureFixture[str]) -> None:
    failures = runner.run(["lacks", "works"], package.name, package.parent)
    assert failures == ["lacks ended with status 1; its last lines say why"]
    assert "figure 7" in capfd.readouterr().out


def test_lists_every_benchmark_with_what_it_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines} >= {"canvas", "kernels", "models", "observers", "silicon"}
    assert all(len(line.split()) > 2 for line in lines)


def test_unknown_name_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        runner.main(["speed_of_light"])
    assert stopped.value.code == 2
    assert "no benchmark named speed_of_light; there are " in capsys.readouterr().err


def test_building_models_waits_to_be_asked_for() -> None:
    assert {item.name for item in runner.benchmarks()} >= runner.ON_REQUEST
