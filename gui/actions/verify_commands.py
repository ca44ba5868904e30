"""Comparing the plan with other programs, and what came of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.reports import Verification
from gui.actions.file_commands import NoticeSink
from gui.client.session import EngineSession
from gui.document.notice import Level, Notice
from gui.panels.verification.model import summary_of
from gui.panels.verification.widget import VerificationPanel

VERIFY_COMMAND = "model.verify"


class VerifyCommands:
    """Asks the engine, and brings the answer to the panel. ``show_panel`` brings that to the front."""

    def __init__(
        self,
        session: EngineSession,
        panel: VerificationPanel,
        notices: NoticeSink,
        show_panel: Callable[[], object],
    ) -> None:
        self._session = session
        self._panel = panel
        self._notices = notices
        self._show_panel = show_panel
        self._said = ""
        session.verified.connect(self._on_verified)
        session.opened.connect(lambda _: notices.dismiss(self._said))

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {VERIFY_COMMAND: self.verify}

    def verify(self) -> None:
        """Compare the present plan, on as many samples as the panel says."""
        self._show_panel()
        self._session.verify(self._panel.samples.value())

    def _on_verified(self, found: Verification, revision: int) -> None:
        self._panel.show_result(found, revision)
        self._notices.dismiss(self._said)
        if found.first_stage:
            self._said = summary_of(found)
            self._notices.post(Notice(Level.WARNING, self._said))
