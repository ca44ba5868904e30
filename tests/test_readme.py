"""What the README says is so: its commands parse, its JSON keys are those written, its examples work."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
import typer.main

from engine.calibrate.recipe import load_recipe
from engine.cli.main import app
from engine.project import load_project
from engine.target.target import figures, list_targets, load_target
from gui.actions.registry import ACTIONS
from gui.canvas.gestures import GESTURES

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "resources" / "models"
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)
WINDOW_COMMANDS = {"gui", "screenshot"}


def section(title: str) -> str:
    """The text below a heading, down to the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n(.*?)(?=^\1 |^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no heading '{title}'"
    return found[2]


def fenced(language: str, text: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    """Every line of a code block and every code span that calls quantscope with arguments."""
    spans = re.findall(r"`(quantscope [^`]+)`", re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL))
    blocks = [line for block in fenced("", README) for line in block.splitlines() if line.startswith("quantscope")]
    return sorted({*spans, *blocks})


def parsed(line: str) -> list[str]:
    """Names of the commands that a line goes through; typer refuses what does not exist."""
    words = shlex.split(line, comments=True)[1:]
    command: Any = COMMANDS
    names: list[str] = []
    while hasattr(command, "resolve_command"):
        context = command.make_context("quantscope", words[:0], resilient_parsing=True)
        name, command, words = command.resolve_command(context, words)
        assert name is not None and command is not None
        names.append(name)
    if words:  # else only the command's name is mentioned
        command.make_context(names[-1], words)
    return names


def all_commands() -> Iterator[str]:
    for name, command in COMMANDS.commands.items():  # pyright: ignore[reportAttributeAccessIssue]
        yield from [f"{name} {inner}" for inner in command.commands] if hasattr(command, "commands") else [name]


@pytest.mark.parametrize("line", command_lines())
def test_command_line_parses(line: str) -> None:
    assert parsed(line)


def test_every_command_and_option_is_shown() -> None:
    shown = [" ".join(parsed(line)) for line in command_lines()]
    assert set(all_commands()) == set(shown)
    text = section("Command line")
    missing: list[str] = []
    for name in all_commands():
        command: Any = COMMANDS
        for part in name.split():
            command = command.commands[part]
        options = [option for p in command.params if p.param_type_name == "option" for option in p.opts]
        missing += [f"{name} {option}" for option in options if option.startswith("--") and option not in text]
    assert [entry for entry in missing if not entry.endswith(("--help", "--output"))] == []


def test_links_lead_to_files() -> None:
    for page in (ROOT / "README.md", ROOT / "engine" / "README.md", ROOT / "tests" / "README.md"):
        text = page.read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
            assert (page.parent / target).exists(), f"{page.name} links {target}"


def test_programs_exist() -> None:
    for module in re.findall(r"python -m ((?:tests|resources)[\w.]+)", README):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_anchors_are_headings() -> None:
    titles = re.findall(r"^#+ (.*)$", README, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}
    assert set(re.findall(r"\]\(#([^)]+)\)", README)) <= anchors


def test_shortcuts_are_those_of_the_window() -> None:
    table = section("Keys")
    for spec in ACTIONS:
        for shortcut in spec.shortcuts:
            assert re.search(rf"(?<![\w+]){re.escape(shortcut)}(?![\w+])", table), f"{spec.id}: {shortcut}"
    assert len(GESTURES) == 6, "the sentence about the mouse names all gestures"


def test_recipe_and_project_are_valid(tmp_path: Path) -> None:
    (recipe,) = [block for block in fenced("toml", README) if block.startswith("[input]")]
    (project,) = [block for block in fenced("toml", README) if block.startswith("format")]
    path = tmp_path / "recipe.toml"
    path.write_text(recipe, encoding="utf-8")
    assert set(msgspec.structs.asdict(load_recipe(path))) == set(re.findall(r"^(\w+) =", recipe, re.MULTILINE))
    path = tmp_path / "project.qscope"
    path.write_text(project, encoding="utf-8")
    assert load_project(path).result is not None


def test_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = fenced("python", README)
    folder = tmp_path / "resources" / "models"
    folder.mkdir(parents=True)
    copy_demo(folder)
    monkeypatch.chdir(tmp_path)
    # One sample is enough to see that it works.
    exec(compile(re.sub(r"samples=\d+", "samples=1", code), "README.md", "exec"), {})
    assert {"mobile.qscope", "mobile.qspkg", "mobile.qdq.onnx"} <= {file.name for file in tmp_path.iterdir()}


def test_training_loop_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = fenced("py", section("Training"))
    copy_demo(tmp_path)
    shutil.copy(MODELS / "mobile_fmnist.qscope", tmp_path / "mobile.qscope")
    monkeypatch.chdir(tmp_path)
    batches = [(torch.ones(2, 1, 28, 28), torch.tensor([0, 1]))]
    exec(compile(code, "README.md", "exec"), {"batches": batches})
    assert load_project(tmp_path / "trained.qscope").corrections


def copy_demo(folder: Path) -> None:
    for file in ("mobile_fmnist.onnx", "fmnist.toml", "fmnist_samples.npz"):
        shutil.copy(MODELS / file, folder)


def test_errors_of_targets_are_those_they_state() -> None:
    rows = dict(re.findall(r"^\| \[`([\w-]+)`\].*? \| (.*) \|$", section("Targets"), re.MULTILINE))
    targets = [load_target(summary.name) for summary in list_targets()]
    assert set(rows) == {target.name for target in targets}
    for target in targets:
        for number in re.findall(r"(?<![\w.-])\d+(?:\.\d+)?\b", target.stated_error.text):
            assert number in rows[target.name], f"{target.name}: {target.stated_error.text}"
        kinds = {figure.source.partition(":")[0] for _, figure in figures(target)}
        absent = rows[target.name].split(" | ").count("–")
        assert len(kinds) == 3 - absent, f"{target.name} has {sorted(kinds)}"


def test_engine_map_names_what_there_is() -> None:
    engine = ROOT / "engine"
    text = (engine / "README.md").read_text(encoding="utf-8")
    folders = re.findall(r"^\| (`[^|]+) \| [^|]+ \| ([^|]*`) \|$", text.partition("## Where")[0], re.MULTILINE)
    assert len(folders) > 10
    for places, names in folders:
        paths = [engine / place for place in re.findall(r"`([^`]+)`", places)]
        files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
        source = "\n".join(file.read_text(encoding="utf-8") for file in files)
        known = {file.name for file in files}
        for name in re.findall(r"`([^`]+)`", names):
            defined = re.search(rf"^(class |def )?{name}\b[:(=\[ ]", source, re.MULTILINE)
            assert defined or name in known, f"{name} is not in {places}"
    for path in re.findall(r"`((?:resources|tests)/[\w/.]+)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.py)?|[a-z_]+\.py)`", text):
        assert (engine / path).exists() or (ROOT / path).exists() or any(engine.rglob(path)), path


# JSON


def documented_keys() -> dict[tuple[str, str], set[str]]:
    """(command, part) to keys, from the table of the JSON section; the part is "" for the object itself."""
    rows = re.findall(r"^\| `([^`]+)`(?: → `(\w+)`)? \| (.*) \|$", section("JSON"), re.MULTILINE)
    return {(command, part): set(re.findall(r"`(\w+)`", keys)) for command, part, keys in rows}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What every command but the window's writes with --json, for a small real run."""
    folder = tmp_path_factory.mktemp("readme")
    copy_demo(folder)
    model, data, recipe, project = (
        str(folder / name) for name in ("mobile_fmnist.onnx", "fmnist_samples.npz", "fmnist.toml", "p.qscope")
    )
    inputs, outputs, package = (str(folder / name) for name in ("x.npz", "y.npz", "p.qspkg"))
    np.savez(inputs, image=np.zeros((1, 1, 28, 28), np.float32))
    measurements = folder / "m.csv"
    measurements.write_text(
        "model,family,precision,latency_ms\nmobile_fmnist,a,int8,1\nmobile_fmnist,b,int16,2\n", encoding="utf-8"
    )
    runs: dict[str, list[str]] = {
        "new": [model, "--calibration", data, "--recipe", recipe, "--samples", "2", "-o", project],
        "mark": [project, "--node", "blocks.0.depthwise.conv.Conv", "--precision", "lut"],
        "fuse": [project, "--node", "blocks.0.se.gate.Sigmoid", "--node", "blocks.0.se.Mul", "--name", "gate"],
        "check": [project],
        "analyze": [project, "--samples", "1", "--sensitivity", "--causes"],
        "evaluate": [project, "--data", data, "--samples", "1"],
        "train": [project, "--data", data, "--split", "calibration", "--samples", "24", "--batch", "8"],
        "advise": [project, "--node", "blocks.0.se.gate.Sigmoid", "--samples", "4"],
        "tune": [project, "--executor", "inline", "--samples", "2", "--trials", "3"],
        "verify": [project, "--samples", "1", "--stage", "calibrated"],
        "estimate": [project],
        "compile": [project],
        "timeline": [project, "-o", str(folder / "trace.json")],
        "export": [project, "--format", "package", "-o", package],
        "run": [package, "--inputs", inputs, "--outputs", outputs],
        "quantise": [project, "--samples", "1"],
        "targets list": [],
        "targets show": ["journey5"],
        "targets fit": ["--measurements", str(measurements), "--models", str(folder)],
    }
    answers: dict[str, Any] = {}
    for name, arguments in runs.items():
        answer = folder / "answer.json"
        app([*name.split(), *arguments, "--json", str(answer)], standalone_mode=False)
        answers[name] = json.loads(answer.read_text(encoding="utf-8"))
    return answers


@pytest.mark.timeout(300)  # the first to ask for the answers waits for every command to run
def test_json_of_every_command_is_documented(written: dict[str, Any]) -> None:
    assert {command for command, _ in documented_keys()} == set(all_commands()) - {"gui"}
    assert set(written) == set(all_commands()) - WINDOW_COMMANDS


@pytest.mark.parametrize(("command", "part"), [row for row in documented_keys() if row[0] not in WINDOW_COMMANDS])
def test_json_keys_are_those_written(written: dict[str, Any], command: str, part: str) -> None:
    answer = written[command]
    if part:
        answer = answer[part]
    entries = answer if isinstance(answer, list) else list(answer.values()) if part else [answer]
    assert entries, "nothing to compare"
    for entry in entries:
        assert set(entry) == documented_keys()[command, part]


def test_node_times_sum_to_the_latency(written: dict[str, Any]) -> None:
    for command in ("analyze", "estimate"):
        total_us = sum(node["latency_us"] for node in written[command]["nodes"])
        assert total_us == pytest.approx(1000 * written[command]["latency_ms"], rel=1e-12)
