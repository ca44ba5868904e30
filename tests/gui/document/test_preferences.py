"""Preferences survive, and damaged ones fall back."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QSettings

from gui.document.preferences import Preferences
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
