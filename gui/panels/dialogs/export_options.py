"""The dialog that asks for the options of an export format; its form is made from their descriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QFormLayout,
    QLabel,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from engine.export.options import OptionField
from gui.panels.parts import set_role

WIDTH = 620


class ExportOptionsDialog(QDialog):
    """One row an option: a list to choose from, or a text with suggestions. Texts may stay empty."""

    def __init__(
        self, title: str, fields: Sequence[OptionField], chosen: Mapping[str, str], parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        self.setMinimumWidth(WIDTH)
        self._fields = fields
        self.boxes = {field.name: _box(field, chosen.get(field.name, field.default)) for field in fields}
        rows = QFormLayout()
        rows.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        rows.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        rows.setHorizontalSpacing(16)
        rows.setVerticalSpacing(12)
        for field in fields:
            box_and_help = QVBoxLayout()
            box_and_help.setSpacing(3)
            box_and_help.addWidget(self.boxes[field.name])
            box_and_help.addWidget(_explanation(field.help))
            rows.addRow(field.title, box_and_help)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel)
        buttons.button(QDialogButtonBox.StandardButton.Ok).setText("Export…")
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(16)
        layout.addLayout(rows)
        layout.addWidget(buttons)

    def chosen(self) -> dict[str, str]:
        """The options by name that differ from their defaults."""
        texts = {field.name: self.boxes[field.name].currentText().strip() for field in self._fields}
        return {field.name: texts[field.name] for field in self._fields if texts[field.name] != field.default}


def _box(field: OptionField, text: str) -> QComboBox:
    box = QComboBox()
    box.setEditable(not field.choices)
    box.addItems([*(field.choices or ("", *field.suggestions))])
    box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    line = box.lineEdit()
    if line is not None:
        line.setPlaceholderText("Left open")
    box.setCurrentText(text)
    box.setToolTip(field.help)
    return box


def _explanation(text: str) -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
    set_role(label, "muted")
    return label
