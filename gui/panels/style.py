"""The theme as Qt's palette and style sheet, so that every panel looks the same without styling itself."""

from __future__ import annotations

from importlib.resources import files

from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication

from gui.theme import Theme

_ROLES = {
    QPalette.ColorRole.Window: "window",
    QPalette.ColorRole.WindowText: "text",
    QPalette.ColorRole.Base: "panel",
    QPalette.ColorRole.AlternateBase: "window",
    QPalette.ColorRole.Text: "text",
    QPalette.ColorRole.Button: "raised",
    QPalette.ColorRole.ButtonText: "text",
    QPalette.ColorRole.BrightText: "warning",
    QPalette.ColorRole.ToolTipBase: "raised",
    QPalette.ColorRole.ToolTipText: "text",
    QPalette.ColorRole.PlaceholderText: "muted_text",
    QPalette.ColorRole.Highlight: "accent",
    QPalette.ColorRole.HighlightedText: "accent_text",
    QPalette.ColorRole.Link: "accent",
    QPalette.ColorRole.Mid: "outline",
}

_SHEET = """
QMainWindow::separator {{ background: {outline}; width: 1px; height: 1px; }}
QMainWindow::separator:hover {{ background: {accent}; }}
QToolBar {{ background: {window}; border: none; border-bottom: 1px solid {outline}; spacing: 2px; padding: 3px 6px; }}
QToolBar::separator {{ background: {outline}; width: 1px; margin: 4px 6px; }}
QToolButton {{ border: 1px solid transparent; border-radius: 4px; padding: 3px 6px; color: {text}; }}
QToolButton:hover {{ background: {raised}; border-color: {outline}; }}
QToolButton:checked {{ background: {accent}; color: {accent_text}; border-color: {accent}; }}
QToolButton:disabled {{ color: {disabled}; }}
QToolButton:checked:disabled {{ background: transparent; border-color: {outline}; color: {disabled}; }}
QToolButton#sectionHeading, QToolButton#sectionHeading:checked {{
    background: {window}; color: {text}; border: none; border-top: 1px solid {outline}; border-radius: 0;
    font-weight: bold; text-align: left; padding: 5px 8px;
}}
QToolBar QToolButton {{ padding: 4px 5px; }}
QToolButton#choice {{ border: 1px solid {outline}; padding: 4px 2px; }}
QToolButton#choice:checked {{ border-color: {accent}; }}
QMenuBar {{ background: {window}; color: {text}; border-bottom: 1px solid {outline}; }}
QMenuBar::item {{ padding: 4px 9px; background: transparent; }}
QMenuBar::item:selected {{ background: {accent}; color: {accent_text}; }}
QMenu {{ background: {raised}; color: {text}; border: 1px solid {outline}; padding: 4px; }}
QMenu::item {{ padding: 4px 28px 4px 26px; border-radius: 3px; }}
QMenu::item:selected {{ background: {accent}; color: {accent_text}; }}
QMenu::item:disabled {{ color: {disabled}; background: transparent; }}
QMenu::separator {{ height: 1px; background: {outline}; margin: 4px 6px; }}
QMenu::icon {{ padding-left: 6px; }}
QDockWidget {{ color: {text}; font-weight: bold; }}
QDockWidget::title {{ background: {window}; padding: 5px 9px; border-bottom: 1px solid {outline}; text-align: left; }}
QStatusBar {{ background: {window}; color: {muted_text}; border-top: 1px solid {outline}; }}
QStatusBar::item {{ border: none; }}
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox {{
    background: {panel}; color: {text}; border: 1px solid {outline}; border-radius: 4px; padding: 3px 6px;
    selection-background-color: {accent}; selection-color: {accent_text};
}}
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus {{ border-color: {accent}; }}
QComboBox::drop-down {{ border: none; width: 20px; }}
QComboBox::down-arrow {{ image: url("{chevron}"); width: 12px; height: 12px; }}
QComboBox:disabled, QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled {{ color: {disabled}; }}
QComboBox QAbstractItemView {{
    background: {raised}; color: {text}; border: 1px solid {outline};
    selection-background-color: {accent}; selection-color: {accent_text};
}}
QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{ border: none; width: 18px; }}
QAbstractSpinBox::up-arrow {{ image: url("{chevron_up}"); width: 10px; height: 10px; }}
QAbstractSpinBox::down-arrow {{ image: url("{chevron}"); width: 10px; height: 10px; }}
QPushButton {{
    background: {raised}; color: {text}; border: 1px solid {outline}; border-radius: 4px; padding: 5px 14px;
}}
QPushButton:hover {{ border-color: {accent}; }}
QPushButton:default, QPushButton[primary="true"] {{
    background: {accent}; color: {accent_text}; border-color: {accent};
}}
QPushButton#link {{
    background: transparent; border: none; color: {accent}; text-align: left; padding: 3px 0 5px 0;
}}
QPushButton#link:hover {{ text-decoration: underline; }}
QPushButton:disabled {{ color: {disabled}; }}
QTableView, QTreeView, QListView {{
    background: {panel}; alternate-background-color: {stripe}; color: {text}; border: none;
    selection-background-color: {accent}; selection-color: {accent_text}; outline: none;
}}
QTreeView::item {{ padding: 1px 0; }}
QTreeView::item:disabled {{ color: {disabled}; }}
QTreeView#palette::item {{ padding: 5px 8px; }}
QDialog {{ background: {window}; border: 1px solid {outline}; }}
QHeaderView::section {{
    background: {window}; color: {muted_text}; border: none; border-right: 1px solid {outline};
    border-bottom: 1px solid {outline}; padding: 4px 6px;
}}
QHeaderView::up-arrow, QHeaderView::down-arrow {{
    subcontrol-origin: padding; subcontrol-position: top center; width: 9px; height: 9px; margin-top: -3px;
}}
QHeaderView::up-arrow {{ image: url("{chevron_up}"); }}
QHeaderView::down-arrow {{ image: url("{chevron}"); }}
QScrollArea, QScrollArea > QWidget > QWidget {{ background: {panel}; border: none; }}
QScrollArea#welcome, QScrollArea#welcome > QWidget > QWidget {{ background: {window}; }}
QScrollBar {{ background: transparent; border: none; margin: 0; }}
QScrollBar:vertical {{ width: 10px; }}
QScrollBar:horizontal {{ height: 10px; }}
QScrollBar::handle {{ background: {outline}; border-radius: 4px; margin: 1px; min-height: 24px; min-width: 24px; }}
QScrollBar::handle:hover {{ background: {muted_text}; }}
QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{
    background: none; border: none; width: 0; height: 0;
}}
QProgressBar {{
    background: {panel}; border: 1px solid {outline}; border-radius: 4px; text-align: center; color: {text};
    max-height: 14px;
}}
QProgressBar::chunk {{ background: {accent}; border-radius: 3px; }}
QToolTip {{ background: {raised}; color: {text}; border: 1px solid {outline}; padding: 4px; }}
QLabel[role="muted"] {{ color: {muted_text}; }}
QLabel[role="heading"] {{ font-weight: bold; }}
QLabel[role="title"] {{ font-size: {large}pt; font-weight: bold; }}
QLabel[role="display"] {{ font-size: {display}pt; font-weight: bold; }}
QLabel[role="warning"] {{ color: {warning}; }}
QFrame[role="line"] {{ background: {outline}; border: none; }}
QFrame[role="card"] {{ background: {raised}; border: 1px solid {outline}; border-radius: 6px; }}
QFrame[role="banner"] {{ background: {raised}; border: none; border-bottom: 1px solid {outline}; }}
QWidget[role="panel"] {{ background: {panel}; }}
"""


DISABLED_FADE = 0.35
"""How much of the window's colour is in what is disabled: clearly off, and still legible."""


def style_sheet(theme: Theme) -> str:
    """The style sheet of the whole window."""
    return _SHEET.format(
        **{name: getattr(theme, name) for name in theme.__dataclass_fields__},
        disabled=mixed(theme.muted_text, theme.window, DISABLED_FADE),
        stripe=mixed(theme.panel, theme.window, 0.5),
        chevron=_file("chevron"),
        chevron_up=_file("chevron_up"),
        large=theme.font_size_pt + 2,
        display=theme.font_size_pt + 9,
    )


def _file(name: str) -> str:
    """Where a picture that the style sheet names is, as Qt wants it on every system."""
    return str(files("resources").joinpath("icons", f"{name}.svg")).replace("\\", "/")


def mixed(first: str, second: str, share: float) -> str:
    """``first`` with ``share`` (0 … 1) of ``second`` in it, as #rrggbb."""
    one, two = QColor(first), QColor(second)
    pairs = zip((one.red(), one.green(), one.blue()), (two.red(), two.green(), two.blue()), strict=True)
    return QColor(*(round(a + (b - a) * share) for a, b in pairs)).name()


def apply_theme(app: QApplication, theme: Theme) -> None:
    """Dress the whole application."""
    palette = QPalette()
    for role, name in _ROLES.items():
        palette.setColor(role, QColor(getattr(theme, name)))
    disabled = QColor(mixed(theme.muted_text, theme.window, DISABLED_FADE))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.WindowText, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, disabled)
    app.setStyle("Fusion")
    app.setFont(QFont(theme.font_family, theme.font_size_pt))
    app.setPalette(palette)
    app.setStyleSheet(style_sheet(theme))
