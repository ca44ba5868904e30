"""A window for tests: settings of its own, scripted answers to questions, and the engine process ended with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QWidget

from engine.export.options import OptionField
from gui.app import make_window
from gui.client.process import ENGINE_COMMAND
from gui.document.preferences import Preferences
from gui.main_window import MainWindow
from gui.panels.dialogs.model import SamplesForm
from gui.panels.dialogs.prompts import Prompts, Unsaved

MODELS = Path(str(files("resources").joinpath("models")))
WAIT_MS = 100_000


class Answers(Prompts):
    """Answers every question as the test laid down; ``asked`` tells which were asked."""

    def __init__(self) -> None:
        super().__init__(QWidget.__new__(QWidget))
        self.asked: list[str] = []
        self.path = ""
        self.form: SamplesForm | None = None
        self.options: dict[str, str] | None = None
        self.sizes = ""
        self.name = ""
        self.about_unsaved = Unsaved.CANCEL

    def path_to_open(self, start: str) -> str:
        self.asked.append("open")
        return self.path

    def path_to_target(self) -> str:
        self.asked.append("target")
        return self.path

    def path_to_save(self, suggested: str) -> str:
        self.asked.append("save")
        return self.path

    def path_to_export(self, export_format: str, suggested: str) -> str:
        self.asked.append(f"export {export_format}")
        return self.path

    def export_options(
        self, title: str, fields: Sequence[OptionField], chosen: Mapping[str, str]
    ) -> dict[str, str] | None:
        self.asked.append(f"options of {title}, so far {dict(chosen)}")
        return self.options

    def dimensions(self, name: str) -> str:
        self.asked.append("dimensions")
        return self.sizes

    def region_name(self, name: str) -> str:
        self.asked.append(f"name of {name}")
        return self.name

    def unsaved(self, title: str) -> Unsaved:
        self.asked.append("unsaved")
        return self.about_unsaved

    def calibration(self, form: SamplesForm) -> SamplesForm | None:
        self.asked.append("calibrate")
        return self.form

    def evaluation(self, form: SamplesForm) -> SamplesForm | None:
        self.asked.append("evaluate")
        return self.form

    def labelled(self, form: SamplesForm) -> SamplesForm | None:
        self.asked.append(f"labelled, so far {form.data}")
        return self.form


def window_for(
    folder: Path, answers: Answers, command: Sequence[str] = ENGINE_COMMAND, live_samples: int = 2
) -> MainWindow:
    """A window whose settings lie in ``folder``."""
    settings = QSettings(str(folder / "settings.ini"), QSettings.Format.IniFormat)
    return make_window(command, Preferences(settings), answers, live_samples)
