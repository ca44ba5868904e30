from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CalibrationError, ExportError
from engine.export.registry import EXPORTERS
from engine.session import Session
from tests.engine.export.demos import MODELS, opened
from tests.engine.export.ethos_u.installed import needs_vela

WRITTEN = [pytest.param(name, marks=[needs_vela] if name == "ethos-u" else []) for name in EXPORTERS]


def test_rows_are_keyed_by_their_names() -> None:
    assert {name: exporter.suffix for name, exporter in EXPORTERS.items()} == {
        "package": ".qspkg",
        "qdq": ".qdq.onnx",
        "tosa": ".tosa",
        "integer-onnx": ".integer.onnx",
        "ethos-u": ".ethos-u.json",
    }


def test_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=f"unknown format 'tflite'; choose one of {', '.join(EXPORTERS)}"):
        opened("mobile_fmnist").export(tmp_path / "x", "tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", EXPORTERS)
def test_a_failed_export_leaves_what_was_there(tmp_path: Path, format: str) -> None:
    path = tmp_path / "old"
    path.write_text("old")
    with pytest.raises(CalibrationError):
        Session.open(MODELS / "mobile_fmnist.onnx").export(path, format)
    assert [file.name for file in tmp_path.iterdir()] == ["old"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("format", WRITTEN)
def test_missing_folder_is_one_line(tmp_path: Path, format: str) -> None:
    path = tmp_path / "missing" / "x"
    with pytest.raises(ExportError, match=r"missing/x: cannot be written") as caught:
        opened("mobile_fmnist").export(path, format)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("format", WRITTEN)
def test_same_session_gives_same_bytes(tmp_path: Path, format: str) -> None:
    marks = (("blocks.2", "float"), ("blocks.3", "int16"))
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        summary = opened("mobile_fmnist", marks).export(path, format)
        assert summary.size_bytes == path.stat().st_size
    assert paths[0].read_bytes() == paths[1].read_bytes()
