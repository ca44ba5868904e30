"""What the File menu does: opening, saving, calibrating, evaluating and exporting, with the questions
they need.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from engine.bindings import parse_bindings
from engine.errors import GraphError
from engine.reports import Evaluation, ExportSummary
from gui.client.session import BIND_COMMAND, EngineSession
from gui.document.document import Document
from gui.document.exports import EXPORT_FORMATS, ExportFormat
from gui.document.notice import Level, Notice
from gui.document.preferences import Preferences
from gui.panels import formats
from gui.panels.dialogs.model import SamplesForm, suggested_recipe
from gui.panels.dialogs.prompts import Prompts, Unsaved
from gui.panels.welcome.model import with_opened

PROJECT_SUFFIX = ".qscope"
CALIBRATE_COMMAND = "model.calibrate"
UNCALIBRATED = "This model is not calibrated: latency is shown, errors cannot be measured yet."


class NoticeSink(Protocol):
    """Where notices show."""

    def post(self, notice: Notice) -> None:
        """Show a notice."""
        ...

    def dismiss(self, text: str) -> None:
        """Take the notice with this text away, if it shows."""
        ...


class FileCommands:
    """Asks the user through ``prompts``, the engine through ``session``, and says what came of it through
    ``post``.
    """

    def __init__(
        self,
        document: Document,
        session: EngineSession,
        prompts: Prompts,
        preferences: Preferences,
        notices: NoticeSink,
        close: Callable[[], object],
    ) -> None:
        self._document = document
        self._session = session
        self.prompts = prompts
        self._preferences = preferences
        self._notices = notices
        self._close = close
        self._export_options: dict[str, dict[str, str]] = {}
        self._opening: Notice | None = None
        session.opened.connect(self._on_opened)
        session.saved.connect(self._remember)
        session.exported.connect(self._on_exported)
        session.evaluated.connect(self._on_evaluated)
        session.calibrated.connect(self._on_calibrated)

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {
            "file.open": self.ask_and_open,
            "file.open_bound": self.ask_and_open_bound,
            "file.save": self.save,
            "file.save_as": self.save_as,
            "file.quit": self._close,
            CALIBRATE_COMMAND: self.ask_and_calibrate,
            "model.evaluate": self.ask_and_evaluate,
            "engine.restart": self._session.restart,
            **{row.command: partial(self.ask_and_export, row.name) for row in EXPORT_FORMATS.values()},
        }

    def ask_and_open(self) -> None:
        start = str(Path(self._document.opened_path).parent) if self._document.is_open else ""
        path = self.prompts.path_to_open(start)
        if path:
            self.open(path)

    def ask_and_open_bound(self) -> None:
        """Open the model that was tried last, or another, with sizes for its symbolic dimensions."""
        path = self._session.last_asked_path or self.prompts.path_to_open("")
        text = self.prompts.dimensions(Path(path).name) if path else ""
        if not text:
            return
        try:
            bindings = parse_bindings(text.replace(",", " ").split())
        except GraphError as error:
            self._notices.post(Notice(Level.ERROR, str(error), action=BIND_COMMAND))
        else:
            self.open(path, bindings)

    def open(self, path: str, bindings: Mapping[str, int] | None = None) -> None:
        """Open a model or project, once unsaved work is dealt with."""
        full = str(Path(path).absolute())
        self.with_saved_work(lambda: self._session.open(full, dict(bindings or {})))

    def save(self, then: Callable[[], object] | None = None) -> None:
        """Save where the project is; ask where that is not known yet."""
        if self._document.project_path:
            self._session.save(self._document.project_path, then)
        else:
            self.save_as(then)

    def save_as(self, then: Callable[[], object] | None = None) -> None:
        suggested = Path(self._document.project_path or self._document.opened_path).with_suffix(PROJECT_SUFFIX)
        path = self.prompts.path_to_save(str(suggested))
        if path:
            self._session.save(_with_suffix(path, PROJECT_SUFFIX), then)

    def with_saved_work(self, then: Callable[[], object]) -> None:
        """Go on with ``then``: at once, after saving, or not at all, as the user decides about unsaved
        changes.
        """
        answer = self.prompts.unsaved(self._document.title) if self._document.is_dirty else Unsaved.DISCARD
        if answer == Unsaved.SAVE:
            self.save(then)
        elif answer == Unsaved.DISCARD:
            then()

    def ask_and_calibrate(self) -> None:
        data = self._document.calibration.data
        form = self.prompts.calibration(SamplesForm(data, suggested_recipe(data)))
        if form is not None:
            self._session.calibrate(form.source())

    def ask_and_evaluate(self) -> None:
        form = self.prompts.evaluation(
            SamplesForm(self._document.calibration.data, samples=0, usual_split="evaluation", needs_recipe=False)
        )
        if form is not None:
            source = form.source()
            self._session.evaluate(source.path, source.split, source.samples)

    def ask_and_export(self, export_format: str) -> None:
        row = EXPORT_FORMATS[export_format]
        options = self._asked_options(row)
        if options is None:
            return
        suggested = Path(self._document.opened_path).with_suffix(row.suffix)
        path = self.prompts.path_to_export(export_format, str(suggested))
        if path:
            self._session.export(export_format, _with_suffix(path, row.suffix), options)

    def _asked_options(self, row: ExportFormat) -> dict[str, str] | None:
        """The format's options, as chosen last time to begin with; None where the user gave up."""
        if not row.fields:
            return {}
        title = row.title.removesuffix(" …")
        options = self.prompts.export_options(title, row.fields, self._export_options.get(row.name, {}))
        if options is not None:
            self._export_options[row.name] = options
        return options

    def _on_opened(self, path: str) -> None:
        self._remember(path)
        self._dismiss_opening()
        self._opening = opening_notice(self._document)
        if self._opening is not None:
            self._notices.post(self._opening)

    def _dismiss_opening(self) -> None:
        if self._opening is not None:
            self._notices.dismiss(self._opening.text)

    def _remember(self, path: str) -> None:
        self._preferences.recent = with_opened(self._preferences.recent, path)

    def _on_exported(self, summary: ExportSummary) -> None:
        size = formats.size(summary.size_bytes)
        text = f"Exported {summary.path} ({summary.format}, {size})"
        self._notices.post(Notice(Level.INFO, text, "\n".join(summary.notes)))

    def _on_evaluated(self, evaluation: Evaluation) -> None:
        self._notices.post(Notice(Level.INFO, evaluation_text(evaluation)))

    def _on_calibrated(self, samples: int) -> None:
        self._dismiss_opening()
        self._notices.post(Notice(Level.INFO, f"Calibrated on {samples:,} sample{'' if samples == 1 else 's'}."))


def opening_notice(document: Document) -> Notice | None:
    """What to say of a model that was just opened: that it cannot run, or that it wants samples."""
    stopped = [node for node in document.nodes.values() if node.problem]
    if stopped:
        count = "One node" if len(stopped) == 1 else f"{len(stopped):,} nodes"
        text = f"{count} cannot run: the graph and its times are shown, nothing can be measured or exported."
        return Notice(Level.WARNING, text, "\n".join(f"{node.id}: {node.problem}" for node in stopped))
    if document.calibration.is_done:
        return None
    return Notice(Level.INFO, UNCALIBRATED, action=CALIBRATE_COMMAND)


def evaluation_text(evaluation: Evaluation) -> str:
    """One line: accuracy of the float and of the quantised model, agreement and output error."""
    parts: list[str] = []
    if evaluation.float_top1 is not None and evaluation.quantised_top1 is not None:
        change = 100 * (evaluation.quantised_top1 - evaluation.float_top1)
        parts.append(
            f"top-1 {formats.percent(evaluation.float_top1)} in float, "
            f"{formats.percent(evaluation.quantised_top1)} quantised ({change:+.2f} points)"
        )
    parts.append(f"agreement {formats.percent(evaluation.agreement)}")
    parts.append(f"output SQNR {formats.number(evaluation.output_sqnr_db, 'dB')}")
    return f"Evaluated {evaluation.samples:,} samples: {', '.join(parts)}."


def _with_suffix(path: str, suffix: str) -> str:
    """The path the user typed, with the suffix if none was typed."""
    return path if Path(path).suffix else f"{path}{suffix}"
