"""Processes whose end does no harm: a program that crashes, hangs or is killed is an error with one line of text."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import engine
from engine.errors import Cancelled, ThirdPartyError

Watch = Callable[[], bool]

TIMEOUT_S = 900.0
_POLL_S = 0.05
_SAID_CHARACTERS = 400
_PROGRAMS = Path(__file__).parent / "programs"


def never() -> bool:
    """For work that nobody cancels."""
    return False


def run_program(
    name: str, arguments: Sequence[str], title: str, cancelled: Watch = never, timeout_s: float = TIMEOUT_S
) -> None:
    """Run a script of ``engine/verify/programs`` with this Python, in a process of its own, to its end.

    Args:
        name: The script, without its suffix.
        arguments: What it is given.
        title: What it runs, for messages.
        cancelled: Asked every 50 ms; the process is then ended.
        timeout_s: How long it may take.

    Raises:
        ThirdPartyError: It crashed, was killed, took too long, or ended with a status other than 0.
        Cancelled: The user stopped.
    """
    command = [sys.executable, "-P", str(_PROGRAMS / f"{name}.py"), *arguments]
    with tempfile.TemporaryFile() as said:
        status = _watched(command, said.fileno(), title, cancelled, timeout_s)
        if status:
            said.seek(0)
            text = said.read().decode(errors="replace")
            raise ThirdPartyError(f"{title} {_ended(status)}{_last_words(text)}")


def _watched(command: Sequence[str], said: int, title: str, cancelled: Watch, timeout_s: float) -> int:
    """The exit status of a command; the process is gone whatever happens."""
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, env=_environment()
    )
    deadline_s = time.monotonic() + timeout_s
    try:
        while True:
            try:
                return process.wait(_POLL_S)
            except subprocess.TimeoutExpired:
                if cancelled():
                    raise Cancelled from None
                if time.monotonic() > deadline_s:
                    raise ThirdPartyError(f"{title} took more than {timeout_s:g} s and was ended") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _environment() -> dict[str, str]:
    """That of this process, with this engine first on the path."""
    root = str(Path(engine.__file__).parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _ended(status: int) -> str:
    if status > 0:
        return f"ended with status {status}"
    known = {item.value: item.name for item in signal.Signals}
    return f"was ended by {known.get(-status, f'signal {-status}')}"


def _last_words(text: str) -> str:
    """The last line that the process printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f": {lines[-1][-_SAID_CHARACTERS:]}" if lines else ""
