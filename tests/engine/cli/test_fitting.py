"""``quantscope targets fit``: what it writes, and one line for what is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from engine.cli.main import main
from engine.target.figures import SourceKind
from engine.target.target import figures, load_target
from tests.engine.fit.graphs import write_model


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    for channels, name in ((8, "small"), (32, "wide")):
        write_model(folder / f"{name}.onnx", channels, layers=2)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["quantscope", "targets", "fit", *map(str, arguments)])
    main()


def test_a_fitted_target_is_written_and_can_be_used(
    tmp_path: Path, models: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "m.csv"
    table.write_text("model,latency_ms\nsmall,0.8\nwide,0.9\n", encoding="utf-8")
    output, answer = tmp_path / "mine.toml", tmp_path / "answer.json"
    with pytest.raises(SystemExit) as caught:
        run(
            monkeypatch,
            *("--measurements", table, "--models", models, "--target", "generic-int8"),
            *("-o", output, "--json", answer),
        )
    assert not caught.value.code
    fitted = load_target(output)
    kinds = {path: figure.kind for path, figure in figures(fitted)}
    assert kinds["launch.inference"] is SourceKind.FITTED
    assert kinds["mac.int8_peak"] is not SourceKind.FITTED
    assert fitted.stated_error.latency is not None
    found = json.loads(answer.read_text(encoding="utf-8"))
    assert found["stated_error"] == fitted.stated_error.text
    assert [row["model"] for row in found["rows"]] == ["small", "wide"]
    printed = capsys.readouterr().out
    assert "latency, each family unseen: mean" in printed
    assert f"wrote {output}" in printed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model,latency_ms\nsmall,0\nwide,1\n", "row 2: column 'latency_ms': 0 is not above 0"),
        ("model,latency_ms\nsmall,1\nwidest,1\n", "row 3: column 'model': 'widest' has no file in"),
        ("model,latency_ms\nsmall,1\n", "holds one family of models, 'small'"),
        ("model,node,latency_ms\nsmall,conv7,1\nwide,,1\n", "row 2: column 'node': 'conv7' is no node of 'small'"),
    ],
)
def test_a_bad_table_is_one_line_and_writes_nothing(
    tmp_path: Path,
    models: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    message: str,
) -> None:
    table, output = tmp_path / "m.csv", tmp_path / "mine.toml"
    table.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as caught:
        run(monkeypatch, "--measurements", table, "--models", models, "-o", output)
    assert caught.value.code == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert message in lines[0]
    assert not output.exists()
