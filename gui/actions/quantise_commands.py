"""Running a preset from the calibration dock, and taking over what it found."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from engine.plan.data import PlanData
from engine.reports_quantise import QuantiseProgress
from gui.client.session import EngineSession
from gui.document.document import Document
from gui.panels.calibration.widget import CalibrationPanel

QUANTISE_COMMAND = "model.quantise"


class QuantiseCommands:
    """Asks the engine, and brings its answers to the dock. ``show_panel`` brings that to the front."""

    def __init__(
        self,
        document: Document,
        session: EngineSession,
        panel: CalibrationPanel,
        calibrate: Callable[[], object],
        show_panel: Callable[[], object],
    ) -> None:
        self._document = document
        self._session = session
        self._panel = panel
        self._show_panel = show_panel
        self._request_id = 0
        panel.runWanted.connect(self.run)
        panel.stopWanted.connect(self.stop)
        panel.calibrateWanted.connect(lambda: calibrate())
        panel.applyWanted.connect(self._apply)
        session.quantised.connect(self._on_found)
        session.quantiseProgressed.connect(panel.show_progress)
        session.quantiseEnded.connect(panel.finish)

    def handlers(self) -> Mapping[str, Callable[[], object]]:
        return {QUANTISE_COMMAND: self.show}

    def show(self) -> None:
        """Bring the dock to the front."""
        self._show_panel()

    def run(self, preset: str, samples: int) -> None:
        """Run a preset on the present plan."""
        self._panel.start()
        self._request_id = self._session.quantise(preset, samples)

    def stop(self) -> None:
        """End the run; what was found stays."""
        self._session.cancel_request(self._request_id)

    def _on_found(self, progress: QuantiseProgress, plan: PlanData) -> None:
        self._panel.show_result(progress, plan)

    def _apply(self, plan: PlanData, label: str) -> None:
        self._document.adopt(plan, label)
