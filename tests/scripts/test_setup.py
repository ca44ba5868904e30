"""The set-up script's decisions; that it installs is seen by running it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "setup.py"


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module, its virtual environment in an empty folder."""
    spec = importlib.util.spec_from_file_location("setup_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "stamp.json")
    return module


@pytest.fixture
def steps(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the installing steps that were taken; none of them is carried out."""
    taken: list[str] = []

    def make_venv() -> None:
        taken.append("venv")
        command = setup._in_venv("quantscope")
        command.parent.mkdir(parents=True)
        command.touch()

    monkeypatch.setattr(setup, "_make_venv", make_venv)
    monkeypatch.setattr(setup, "_venv_works", lambda: setup._in_venv("quantscope").exists())
    monkeypatch.setattr(setup, "_install_system_libraries", lambda x11: taken.append(f"libraries x11={x11}"))
    monkeypatch.setattr(setup, "_install_packages", lambda development: taken.append(f"dev={development}"))
    monkeypatch.setattr(setup, "_compile_kernels", lambda: taken.append("kernels"))
    return taken


def test_installs_once(setup: ModuleType, steps: list[str]) -> None:
    setup._install(development=False, x11=False)
    assert steps == ["libraries x11=False", "venv", "dev=False", "kernels"]
    steps.clear()
    setup._install(development=False, x11=False)
    assert steps == []


def test_running_and_testing_in_turns_installs_each_part_once(setup: ModuleType, steps: list[str]) -> None:
    setup._install(development=True, x11=False)
    setup._install(development=False, x11=True)
    assert steps[-3:] == ["libraries x11=True", "dev=True", "kernels"]
    steps.clear()
    setup._install(development=True, x11=False)
    setup._install(development=False, x11=True)
    assert steps == []


def test_installs_again_when_pins_change(
    setup: ModuleType, steps: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup._install(development=True, x11=False)
    steps.clear()
    changed = tmp_path / "requirements.lock"
    changed.write_text("numpy==2.0.0\n", encoding="utf-8")
    monkeypatch.setattr(setup, "LOCK_FILE", changed)
    setup._install(development=False, x11=False)
    assert steps == ["libraries x11=False", "dev=True", "kernels"]


def test_damaged_stamp_counts_as_none(setup: ModuleType, steps: list[str]) -> None:
    setup._install(development=False, x11=False)
    setup.STAMP.write_text("{", encoding="utf-8")
    steps.clear()
    setup._install(development=False, x11=False)
    assert steps == ["libraries x11=False", "dev=False", "kernels"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems need no system libraries")
def test_names_missing_libraries_to_whom_may_not_install(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(setup, "_can_load", lambda library: library != "libEGL.so.1")
    monkeypatch.setattr(setup, "_has_fonts", lambda folder: False)
    monkeypatch.setattr(setup.os, "geteuid", lambda: 1000)
    with pytest.raises(setup.SetupError, match="apt-get install libegl1 fonts-dejavu-core"):
        setup._install_system_libraries(x11=False)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems always have a display")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, False),
        ({"DISPLAY": ":0"}, True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, True),
        ({"DISPLAY": ":0", "QT_QPA_PLATFORM": "offscreen"}, False),
    ],
)
def test_display(
    setup: ModuleType, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: bool
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert setup._has_display() is expected


@pytest.fixture
def calls(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that would have been started."""
    commands: list[list[str]] = []
    monkeypatch.setattr(setup, "_call", commands.append)
    return commands


def test_without_a_display_run_reports_and_draws(
    setup: ModuleType,
    steps: list[str],
    calls: list[list[str]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    picture = tmp_path / "build" / "demo.png"
    monkeypatch.setattr(setup, "DEMO_PICTURE", picture)
    monkeypatch.setattr(sys, "argv", ["setup.py", "run"])
    monkeypatch.chdir(tmp_path)
    assert setup.main() == 0
    demo = str(setup.DEMO)
    assert [command[1:] for command in calls] == [
        ["analyze", demo, "--samples", "8"],
        ["screenshot", demo, "-o", str(picture)],
    ]
    assert str(picture) in capsys.readouterr().out


@pytest.mark.parametrize("index", [None, "some-index"])
def test_packages_are_constrained_and_torch_may_come_from_elsewhere(
    setup: ModuleType, calls: list[list[str]], monkeypatch: pytest.MonkeyPatch, index: str | None
) -> None:
    monkeypatch.delenv("TORCH_INDEX", raising=False)
    if index:
        monkeypatch.setenv("TORCH_INDEX", index)
    setup._install_packages(development=False)
    dependencies, project = calls
    assert dependencies[dependencies.index("--constraint") + 1] == str(setup.LOCK_FILE)
    assert ("--extra-index-url" in dependencies) is (index is not None)
    assert "torch>=2.13,<2.14" in dependencies
    assert not any(part.startswith("pytest") for part in dependencies)
    assert {"--no-deps", "--no-build-isolation", "--editable"} <= set(project)


def test_supported_versions(setup: ModuleType) -> None:
    assert [minor for minor in range(8, 18) if setup._is_supported((3, minor))] == [11, 12, 13, 14]


def test_every_requirement_is_pinned(setup: ModuleType) -> None:
    pins = {line.partition("==")[0].lower().replace("_", "-") for line in _lock_lines(setup)}
    for requirement in setup._requirements(development=True):
        name = requirement.split(">=")[0].partition("[")[0].lower().replace("_", "-")
        assert name in pins


def test_pins_are_of_no_local_build(setup: ModuleType) -> None:
    assert not [line for line in _lock_lines(setup) if "+" in line or "@" in line]


def test_help_works_without_any_package() -> None:
    command = [sys.executable, "-I", "-S", str(SCRIPT), "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert "open the demo project" in result.stdout


def _lock_lines(setup: ModuleType) -> list[str]:
    lines = setup.LOCK_FILE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_what_is_kept_beside_is_installed_apart_and_once(
    setup: ModuleType, calls: list[list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "tosa"
    monkeypatch.setattr(setup, "_call", lambda command: (calls.append(command), folder.mkdir()))
    setup._install_beside(folder, ("tosa-tools==1",), "the TOSA reference model")
    setup._install_beside(folder, ("tosa-tools==1",), "the TOSA reference model")
    (command,) = calls
    assert "--no-deps" in command
    assert command[command.index("--target") + 1] == str(folder)
    setup._install_beside(folder, ("tosa-tools==2",), "the TOSA reference model")
    assert calls[1][-1] == "tosa-tools==2"
