"""The engine process as a Qt object: bytes in and out, and how it ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import QByteArray, QObject, QProcess, QProcessEnvironment, Signal

from engine import errors
from engine.errors import EngineCrash
from engine.service.messages import AnyRequest
from gui.client.framing import FrameReader, FrameWriter

ENGINE_COMMAND = (sys.executable, "-m", "engine.service")
STDERR_TAIL_CHARACTERS = 8000
SHUTDOWN_GRACE_MS = 1500
KILL_GRACE_MS = 1500


class EngineProcess(QObject):
    """One run of the engine. ``answered`` carries each answer; ``ended`` why it stopped, never after
    :meth:`shutdown`.
    """

    answered = Signal(object)
    ended = Signal(str)

    def __init__(self, command: Sequence[str] = ENGINE_COMMAND, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._reader = FrameReader()
        self._writer = FrameWriter()
        self._stderr = ""
        self._breach = ""
        self._has_ended = False
        self._process = QProcess(self)
        self._process.setProgram(command[0])
        self._process.setArguments(list(command[1:]))
        self._process.setProcessEnvironment(_environment())
        self._process.readyReadStandardOutput.connect(self._read_answers)
        self._process.readyReadStandardError.connect(self._read_stderr)
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_error)

    def start(self) -> None:
        self._process.start()

    @property
    def stderr_tail(self) -> str:
        """The last of what the process wrote to its standard error: for the details of a crash."""
        return self._stderr

    def send(self, request: AnyRequest) -> None:
        """Queue a request; it is written as the pipe takes it."""
        self._process.write(QByteArray(self._writer.frame(request)))

    def kill(self) -> None:
        """End the process at once; ``ended`` follows."""
        self._process.kill()

    def shutdown(self, grace_ms: int = SHUTDOWN_GRACE_MS) -> None:
        """End the process: close its input, wait ``grace_ms``, then kill. Nothing is emitted from here on."""
        self._has_ended = True
        if self._process.state() == QProcess.ProcessState.NotRunning:
            return
        self._process.closeWriteChannel()
        if not (grace_ms and self._process.waitForFinished(grace_ms)):
            self._process.kill()
            self._process.waitForFinished(KILL_GRACE_MS)

    def _read_answers(self) -> None:
        data = bytes(self._process.readAllStandardOutput().data())
        if self._has_ended or self._breach:
            return
        try:
            answers = self._reader.feed(data)
        except EngineCrash as error:
            self._breach = str(error)
            self._process.kill()
            return
        for answer in answers:
            if not self._has_ended:
                self.answered.emit(answer)

    def _read_stderr(self) -> None:
        text = bytes(self._process.readAllStandardError().data()).decode(errors="replace")
        self._stderr = (self._stderr + text)[-STDERR_TAIL_CHARACTERS:]

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read_stderr()
        how = "was killed" if status == QProcess.ExitStatus.CrashExit else f"ended with status {code}"
        self._end(self._breach or f"the engine process {how}")

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._end(f"the engine process could not be started: {self._process.errorString()}")

    def _end(self, why: str) -> None:
        if not self._has_ended:
            self._has_ended = True
            self.ended.emit(why)


def _environment() -> QProcessEnvironment:
    """This process's environment, with the engine importable also where it is not installed."""
    environment = QProcessEnvironment.systemEnvironment()
    folders = [str(Path(errors.__file__).resolve().parent.parent), environment.value("PYTHONPATH", "")]
    environment.insert("PYTHONPATH", os.pathsep.join(folder for folder in folders if folder))
    environment.insert("PYTHONUNBUFFERED", "1")
    return environment
