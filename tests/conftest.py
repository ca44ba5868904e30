"""What every test runs under: bounded threads, repeatable properties, and nothing left behind.

A test fails when it leaves a child process or a non-daemon thread running, or when the program logs a warning
or an error that the test did not ask for (a test asks by taking ``caplog``). Warnings are errors too, and so
are Qt's own log lines: see ``[tool.pytest.ini_options]``. What belongs to Qt is watched in
``tests/gui/conftest.py``.
"""

from __future__ import annotations

import inspect
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator

import hypothesis
import psutil
import pytest


def _prepare_environment() -> None:
    """Set what libraries read once, when they are first imported, here and in every child process."""
    os.environ.setdefault("QT_API", "pyside6")
    os.environ.setdefault("PYQTGRAPH_QT_LIB", "PySide6")
    if sys.platform.startswith("linux"):
        # Also where there is a display: the same fonts and sizes everywhere, and no windows flashing by.
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    beside_others = "PYTEST_XDIST_WORKER" in os.environ
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable, "1" if beside_others else "2")
    # An upper bound for numba.set_num_threads, which raises above it.
    os.environ.setdefault("NUMBA_NUM_THREADS", str(min(2, os.cpu_count() or 1)))


_prepare_environment()

# "ci" finds the same examples every time; look for new ones with --hypothesis-profile=explore.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, max_examples=60)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=2000)
hypothesis.settings.load_profile("ci")

GRACE_S = 2.0
"""How long what is already ending may take after a test; only waited for when something is still there."""


@pytest.fixture(scope="session", autouse=True)
def private_user_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests away from the user's settings, recent files and recovered work, child processes included."""
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
            patch.setenv(variable, str(tmp_path_factory.mktemp(variable.lower())))
        yield


@pytest.fixture(autouse=True)
def no_leftover_processes() -> Iterator[None]:
    """Fail a test that leaves a child process running, and end that process.

    Processes of fixtures with a wider scope are there before the test and are left alone.
    """
    before = set(_running_children())
    yield
    after = [child for child in _running_children() if child not in before]
    _, left = psutil.wait_procs(after, timeout=GRACE_S)
    if left:
        described = [_describe_process(child) for child in left]
        for child in left:
            child.kill()
        psutil.wait_procs(left, timeout=GRACE_S)
        pytest.fail(f"left behind {len(left)} child process(es): {'; '.join(described)}")


def _running_children() -> list[psutil.Process]:
    """Child processes, without those that multiprocessing keeps for as long as the interpreter runs."""
    return [child for child in psutil.Process().children() if _counts(child)]


def _counts(child: psutil.Process) -> bool:
    try:
        if child.status() == psutil.STATUS_ZOMBIE:
            return False
        command = " ".join(child.cmdline())
    except psutil.Error:  # it ended while being looked at
        return False
    return "multiprocessing.resource_tracker" not in command and "multiprocessing.forkserver" not in command


def _describe_process(child: psutil.Process) -> str:
    try:
        return f"{child.pid} {' '.join(child.cmdline())[:200]}"
    except psutil.Error:
        return str(child.pid)


@pytest.fixture(autouse=True)
def no_leftover_threads() -> Iterator[None]:
    """Fail a test that leaves a thread running which would keep the interpreter from ending."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + GRACE_S
    started = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in started:
        thread.join(max(0.0, deadline - time.monotonic()))
    left = [thread.name for thread in started if thread.is_alive()]
    if left:
        pytest.fail(f"left behind {len(left)} thread(s): {', '.join(left)}")


class _Complaints(logging.Handler):
    """Collects warnings of this program and errors of anyone."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        is_ours = record.name.partition(".")[0] in {"engine", "gui"}
        if is_ours or record.levelno >= logging.ERROR:
            self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def no_unexpected_logging(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which a complaint is logged, unless the test takes ``caplog`` and looks itself."""
    complaints = _Complaints()
    root = logging.getLogger()
    root.addHandler(complaints)
    yield
    root.removeHandler(complaints)
    if complaints.lines and "caplog" not in _parameters(request):
        pytest.fail(f"unexpected log: {'; '.join(complaints.lines)}")


def _parameters(request: pytest.FixtureRequest) -> set[str]:
    """Names of the fixtures that the test function itself takes."""
    function = getattr(request.node, "function", None)
    return set() if function is None else set(inspect.signature(function).parameters)
