"""Converted programs are kept by content, within a bound, and a damaged entry costs nothing but time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from torch import nn

from engine.graph import conversion_cache, torch_import
from engine.graph.conversion_cache import cache_folder
from engine.graph.float_run import run_float
from engine.graph.load import load_model

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif(os.name == "nt", reason="the folder is named by another variable"),
]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HOME", str(tmp_path))


def saved(path: Path, features: int = 40) -> tuple[Path, nn.Module, torch.Tensor]:
    module, x = nn.Sequential(nn.Linear(features, 30), nn.ReLU()).eval(), torch.randn(1, features)
    torch.export.save(torch.export.export(module, (x,)), path)
    return path, module, x


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were converted by torch, in order."""
    seen: list[Path] = []
    convert = torch_import.exported_program

    def counted(path: Path) -> object:
        seen.append(path)
        return convert(path)

    monkeypatch.setattr(torch_import, "exported_program", counted)
    return seen


def entries() -> list[Path]:
    return sorted(cache_folder().glob("*"))


def test_a_file_is_converted_once_wherever_it_lies(tmp_path: Path, conversions: list[Path]) -> None:
    path, module, x = saved(tmp_path / "net.pt2")
    first = load_model(path)
    copy = path.rename(tmp_path / "moved.pt2")
    second = load_model(copy)
    assert conversions == [path]
    assert [node.id for node in first.nodes] == [node.id for node in second.nodes]
    assert (first.digest, second.source, second.name) == (second.digest, copy, "moved")
    for graph in (first, second):
        (result,) = run_float(graph, {graph.inputs[0]: x}).values()
        torch.testing.assert_close(result, module(x).detach())


def test_a_damaged_entry_is_made_anew(tmp_path: Path, conversions: list[Path]) -> None:
    path, _, _ = saved(tmp_path / "net.pt2")
    load_model(path)
    (entry,) = entries()
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    load_model(path)
    assert conversions == [path, path]
    assert entry.read_bytes() == whole


def test_old_entries_leave_first(tmp_path: Path, conversions: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    small, _, _ = saved(tmp_path / "small.pt2")
    load_model(small)
    (old,) = entries()
    os.utime(old, (1, 1))
    monkeypatch.setattr(conversion_cache, "_MOST_BYTES", old.stat().st_size * 3 // 2)
    load_model(saved(tmp_path / "other.pt2", features=41)[0])
    assert len(entries()) == 1
    assert old not in entries()
    load_model(saved(tmp_path / "large.pt2", features=400)[0])
    assert len(entries()) == 1  # too large to be kept


def test_a_folder_that_cannot_be_written(tmp_path: Path, conversions: list[Path]) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    path, _, _ = saved(tmp_path / "net.pt2")
    load_model(path)
    load_model(path)
    assert conversions == [path, path]
