"""Every question that stops the user. Commands ask through this one class, so that tests can answer for
the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from importlib.metadata import PackageNotFoundError, version

from PySide6.QtWidgets import QDialog, QFileDialog, QInputDialog, QMessageBox, QWidget

from engine.export.options import OptionField
from gui.document.exports import EXPORT_FORMATS
from gui.panels.dialogs.export_options import ExportOptionsDialog
from gui.panels.dialogs.model import SamplesForm
from gui.panels.dialogs.samples import SamplesDialog

MODEL_FILTER = "Models and projects (*.onnx *.pt2 *.pt *.pth *.ts *.qscope);;All files (*)"
TARGET_FILTER = "Target descriptions (*.toml)"
PROJECT_FILTER = "Quantscope projects (*.qscope)"


class Unsaved(Enum):
    """What to do with unsaved work."""

    SAVE = "save"
    DISCARD = "discard"
    CANCEL = "cancel"


class Prompts:
    """Asks the user. Paths are "" and forms None where the user gave up."""

    def __init__(self, parent: QWidget) -> None:
        self._parent = parent

    def path_to_open(self, start: str) -> str:
        path, _ = QFileDialog.getOpenFileName(self._parent, "Open", start, MODEL_FILTER)
        return path

    def dimensions(self, name: str) -> str:
        """The sizes of symbolic dimensions, as text."""
        label = f"Sizes of the dimensions of {name}, for example height=224 width=224, or x=1x3x224x224:"
        text, is_accepted = QInputDialog.getText(self._parent, "Dimensions", label)
        return text.strip() if is_accepted else ""

    def region_name(self, name: str) -> str:
        """Another name for a fusion region."""
        text, is_accepted = QInputDialog.getText(self._parent, "Rename Region", f"Name of {name}:", text=name)
        return text.strip() if is_accepted else ""

    def path_to_target(self) -> str:
        """A target description of the user's own."""
        path, _ = QFileDialog.getOpenFileName(self._parent, "Target", "", TARGET_FILTER)
        return path

    def path_to_save(self, suggested: str) -> str:
        path, _ = QFileDialog.getSaveFileName(self._parent, "Save project", suggested, PROJECT_FILTER)
        return path

    def path_to_export(self, export_format: str, suggested: str) -> str:
        names = EXPORT_FORMATS[export_format].filter
        path, _ = QFileDialog.getSaveFileName(self._parent, f"Export {export_format}", suggested, names)
        return path

    def export_options(
        self, title: str, fields: Sequence[OptionField], chosen: Mapping[str, str]
    ) -> dict[str, str] | None:
        """What is chosen among the options of a format, ``chosen`` to begin with."""
        dialog = ExportOptionsDialog(title, fields, chosen, self._parent)
        is_accepted = dialog.exec() == QDialog.DialogCode.Accepted
        answer = dialog.chosen()
        dialog.deleteLater()
        return answer if is_accepted else None

    def unsaved(self, title: str) -> Unsaved:
        """Ask what to do with unsaved changes."""
        box = QMessageBox(self._parent)
        box.setIcon(QMessageBox.Icon.Question)
        box.setWindowTitle("Unsaved changes")
        box.setText(f"Save the changes to {title}?")
        box.setInformativeText("They are lost otherwise.")
        buttons = QMessageBox.StandardButton
        box.setStandardButtons(buttons.Save | buttons.Discard | buttons.Cancel)
        box.setDefaultButton(buttons.Save)
        answers = {buttons.Save: Unsaved.SAVE, buttons.Discard: Unsaved.DISCARD}
        answer = answers.get(buttons(box.exec()), Unsaved.CANCEL)
        box.deleteLater()
        return answer

    def calibration(self, form: SamplesForm) -> SamplesForm | None:
        return self._samples("Calibrate", "Calibrate", form, asks_recipe=True)

    def evaluation(self, form: SamplesForm) -> SamplesForm | None:
        return self._samples("Evaluate", "Evaluate", form, asks_recipe=False)

    def labelled(self, form: SamplesForm) -> SamplesForm | None:
        return self._samples("Labelled data", "Use", form, asks_recipe=False)

    def about(self) -> None:
        QMessageBox.about(
            self._parent,
            "About Quantscope",
            f"<h3>Quantscope {_version()}</h3><p>See where a neural network loses accuracy and time on an integer "
            "accelerator, change it, and export it.</p><p>Apache License 2.0</p>",
        )

    def _samples(self, title: str, accept: str, form: SamplesForm, asks_recipe: bool) -> SamplesForm | None:
        dialog = SamplesDialog(title, accept, form, asks_recipe, self._parent)
        is_accepted = dialog.exec() == QDialog.DialogCode.Accepted
        filled = dialog.form()
        dialog.deleteLater()
        return filled if is_accepted else None


def _version() -> str:
    try:
        return version("quantscope")
    except PackageNotFoundError:
        return ""
