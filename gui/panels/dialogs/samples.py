"""The dialog that asks for samples, to calibrate on or to evaluate with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from gui.panels.dialogs.model import SamplesForm, suggested_recipe
from gui.panels.parts import set_role

MOST_SAMPLES = 1_000_000
WIDTH = 620


class SamplesDialog(QDialog):
    """Fills in a :class:`SamplesForm`; the button is enabled once it can be used."""

    def __init__(
        self, title: str, accept_text: str, form: SamplesForm, asks_recipe: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setMinimumWidth(WIDTH)
        self._asked = form
        self.data = QLineEdit(form.data)
        self.recipe = QLineEdit(form.recipe)
        self.recipe.setPlaceholderText("optional for .npz; needed for pictures")
        self.samples = QSpinBox()
        self.samples.setRange(0, MOST_SAMPLES)
        self.samples.setSpecialValueText("all")
        self.samples.setValue(form.samples)
        self.split = QLineEdit(form.split)
        self.split.setPlaceholderText(f"the {form.usual_split} split, if the data names splits")
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        set_role(self.problem, "muted")
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.accept_button = buttons.addButton(accept_text, QDialogButtonBox.ButtonRole.AcceptRole)
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        self._build(buttons, asks_recipe)
        self.data.textChanged.connect(self._on_data)
        for box in (self.recipe, self.split):
            box.textChanged.connect(self._refresh)
        self._on_data(form.data)

    def form(self) -> SamplesForm:
        """What is filled in."""
        return replace(
            self._asked,
            data=self.data.text().strip(),
            recipe=self.recipe.text().strip(),
            samples=self.samples.value(),
            split=self.split.text().strip(),
        )

    def _build(self, buttons: QDialogButtonBox, asks_recipe: bool) -> None:
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.ExpandingFieldsGrow)
        rows.addRow("Samples", _with_buttons(self.data, ("Folder …", self._pick_folder), ("File …", self._pick_npz)))
        if asks_recipe:
            rows.addRow("Recipe", _with_buttons(self.recipe, ("File …", self._pick_recipe)))
        rows.addRow("How many", self.samples)
        rows.addRow("Split", self.split)
        layout = QVBoxLayout(self)
        layout.addLayout(rows)
        layout.addWidget(self.problem)
        layout.addWidget(buttons)

    def _on_data(self, text: str) -> None:
        if not self.recipe.text():
            self.recipe.setText(suggested_recipe(text.strip()))
        self._refresh()

    def _refresh(self) -> None:
        problem = self.form().problem
        self.problem.setText(problem)
        self.accept_button.setEnabled(not problem)
        self.accept_button.setToolTip(problem)

    def _pick_folder(self) -> None:
        self._take(self.data, QFileDialog.getExistingDirectory(self, "Folder of pictures", self.data.text()))

    def _pick_npz(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Samples", self.data.text(), "Arrays (*.npz)")
        self._take(self.data, path)

    def _pick_recipe(self) -> None:
        start = self.recipe.text() or self.data.text()
        path, _ = QFileDialog.getOpenFileName(self, "Recipe", start, "Recipes (*.toml)")
        self._take(self.recipe, path)

    def _take(self, box: QLineEdit, path: str) -> None:
        if path:
            box.setText(path)


def _with_buttons(box: QLineEdit, *buttons: tuple[str, Callable[[], None]]) -> QWidget:
    holder = QWidget()
    layout = QHBoxLayout(holder)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.addWidget(box, 1)
    for text, pressed in buttons:
        button = QPushButton(text)
        button.setAutoDefault(False)
        button.clicked.connect(lambda _=False, pressed=pressed: pressed())
        layout.addWidget(button)
    return holder
