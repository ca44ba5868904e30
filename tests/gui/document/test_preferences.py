"""Preferences survive, and damaged ones fall back."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSettings

from engine.service.messages import LabelledData
from gui.document.preferences import MOST_REMEMBERED, Preferences
from gui.theme import DARK, LIGHT


def settings(folder: Path) -> QSettings:
    return QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat)


def test_preferences_survive(tmp_path: Path) -> None:
    first = Preferences(settings(tmp_path))
    assert first.theme is LIGHT
    first.theme = DARK
    first.recent = ["/a.onnx"]
    second = Preferences(settings(tmp_path))
    assert second.theme is DARK
    assert second.recent == ["/a.onnx"]


def test_damaged_entries_fall_back(tmp_path: Path) -> None:
    stored = settings(tmp_path)
    stored.setValue("theme", "plaid")
    stored.setValue("recent", 7)
    stored.setValue("window/geometry", "no bytes")
    preferences = Preferences(stored)
    assert preferences.theme is LIGHT
    assert preferences.recent == []
    assert preferences.geometry.isEmpty()


def test_labelled_data_are_remembered_by_model(tmp_path: Path) -> None:
    data = LabelledData("/data/pictures", "evaluation", 100)
    first = Preferences(settings(tmp_path))
    assert first.labelled_data("/models/a.onnx") is None
    first.remember_labelled_data("/models/a.onnx", data)
    for number in range(MOST_REMEMBERED - 1):
        first.remember_labelled_data(f"/models/{number}.onnx", LabelledData("/data/x.npz"))
    assert Preferences(settings(tmp_path)).labelled_data("/models/a.onnx") == data
    first.remember_labelled_data("/models/new.onnx", data)
    assert first.labelled_data("/models/a.onnx") is None, "the oldest goes"
    first.remember_labelled_data("/models/new.onnx", None)
    assert first.labelled_data("/models/new.onnx") is None


def test_damaged_labelled_data_are_none(tmp_path: Path) -> None:
    stored = settings(tmp_path)
    stored.setValue("labelled", "{[")
    assert Preferences(stored).labelled_data("/models/a.onnx") is None
