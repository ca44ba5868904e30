"""What is remembered between runs: recent files, theme, and where the panels are."""

from __future__ import annotations

import msgspec
from PySide6.QtCore import QByteArray, QSettings

from engine.service.messages import LabelledData
from gui.theme import LIGHT, THEMES, Theme

ORGANISATION = "Quantscope"
APPLICATION = "Quantscope"
MOST_REMEMBERED = 20
"""Models whose labelled data are remembered."""


class Preferences:
    """A typed face of QSettings; damaged entries fall back to their defaults."""

    def __init__(self, settings: QSettings | None = None) -> None:
        self._settings = settings or QSettings(
            QSettings.Format.IniFormat, QSettings.Scope.UserScope, ORGANISATION, APPLICATION
        )

    @property
    def recent(self) -> list[str]:
        """Paths opened before, newest first."""
        stored = self._settings.value("recent", [])
        paths = [stored] if isinstance(stored, str) else stored
        return [path for path in paths if isinstance(path, str)] if isinstance(paths, list) else []

    @recent.setter
    def recent(self, paths: list[str]) -> None:
        self._settings.setValue("recent", paths)

    @property
    def theme(self) -> Theme:
        return THEMES.get(str(self._settings.value("theme", LIGHT.name)), LIGHT)

    @theme.setter
    def theme(self, theme: Theme) -> None:
        self._settings.setValue("theme", theme.name)

    def labelled_data(self, model: str) -> LabelledData | None:
        """The labelled data that were last chosen for a model or project (its path)."""
        return self._labelled().get(model)

    def remember_labelled_data(self, model: str, data: LabelledData | None) -> None:
        """Keep the choice for the next time that the model is opened; None: none is wanted."""
        known = {path: other for path, other in self._labelled().items() if path != model}
        newest = [*known.items(), *([] if data is None else [(model, data)])][-MOST_REMEMBERED:]
        self._settings.setValue("labelled", msgspec.json.encode(dict(newest)).decode())

    def _labelled(self) -> dict[str, LabelledData]:
        try:
            return msgspec.json.decode(str(self._settings.value("labelled", "{}")), type=dict[str, LabelledData])
        except msgspec.DecodeError:
            return {}

    @property
    def geometry(self) -> QByteArray:
        return self._bytes("window/geometry")

    @property
    def layout(self) -> QByteArray:
        return self._bytes("window/layout")

    def remember_window(self, geometry: QByteArray, layout: QByteArray) -> None:
        self._settings.setValue("window/geometry", geometry)
        self._settings.setValue("window/layout", layout)

    def _bytes(self, key: str) -> QByteArray:
        value = self._settings.value(key)
        return value if isinstance(value, QByteArray) else QByteArray()
