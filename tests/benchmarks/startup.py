"""How long the user waits: ``quantscope --help``, the window on screen, Swin-T painted.

    python -m tests.benchmarks.startup [--runs 5]

Every run is a process of its own, timed from its start; medians. The window opens on the platform that Qt finds
(QT_QPA_PLATFORM=offscreen without a display). Opening Swin-T counts from dropping the file on a window whose engine
process is up until the canvas has painted the graph; beside it, the peak memory of window and engine above what each
held before the file was opened.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.benchmarks.models import model_path

TIMEOUT_S = 120

SCRIPT = """
import sys, time
from pathlib import Path

import psutil
from PySide6.QtCore import QEvent, QObject

from gui.app import application, make_window


def peak_mb(pid):
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return float("nan")
    return next(int(line.split()[1]) / 1024 for line in status.read_text().splitlines() if line.startswith("VmHWM"))


class Watch(QObject):
    def __init__(self, window, path):
        super().__init__()
        self.window, self.path, self.opened_at = window, path, 0.0
        window.canvas.installEventFilter(self)

    def open(self):
        self.before = self.peaks()
        self.opened_at = time.time()
        self.window.open_path(self.path)

    def peaks(self):
        return peak_mb("self") + sum(peak_mb(child.pid) for child in psutil.Process().children(recursive=True))

    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint and self.opened_at and watched.visibleBoxes():
            painted = time.time()
            watched.removeEventFilter(self)
            print("open", painted - self.opened_at, self.peaks() - self.before, flush=True)
            print("whole", 0.0, self.peaks(), flush=True)
            app.quit()
        return False


start = float(sys.argv[1])
app = application()
window = make_window()
window.resize(1600, 1000)
window.show()
app.processEvents()
print("window", time.time() - start, 0.0, flush=True)
watch = Watch(window, sys.argv[2])
window.session.targetsChanged.connect(lambda _: watch.open())
app.exec()
window.shutdown()
"""


def seconds_of(command: Sequence[str]) -> float:
    """Wall time of a process that must succeed."""
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S)
    return time.perf_counter() - start


def window_run(model: str) -> dict[str, tuple[float, float]]:
    """Seconds and megabytes of one window, by what was timed."""
    environment = dict(os.environ)
    if sys.platform == "linux" and not environment.get("DISPLAY"):
        environment.setdefault("QT_QPA_PLATFORM", "offscreen")
    command = [sys.executable, "-c", SCRIPT, str(time.time()), model]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=TIMEOUT_S, env=environment)
    rows = [line.split() for line in done.stdout.splitlines()]
    return {name: (float(seconds), float(megabytes)) for name, seconds, megabytes in rows}


def main() -> None:
    """Print medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    help_command = [sys.executable, "-m", "engine.cli.main", "--help"]
    times = [seconds_of(help_command) for _ in range(options.runs)]
    print(f"quantscope --help        {statistics.median(times):.2f} s")
    path = model_path("swin_t", "swin_t.onnx")
    runs = [window_run(str(path)) for _ in range(options.runs)]
    print(f"window on screen         {statistics.median(run['window'][0] for run in runs):.2f} s")
    print(f"Swin-T, open to painted  {statistics.median(run['open'][0] for run in runs):.2f} s")
    peak = statistics.median(run["open"][1] for run in runs)
    size = path.stat().st_size / 2**20
    print(f"peak memory for viewing  {peak:.0f} MB, {peak / size:.2f}x the file ({size:.0f} MB)")
    whole = statistics.median(run["whole"][1] for run in runs)
    print(f"  with Python, Qt, torch {whole:.0f} MB, {whole / size:.2f}x the file")


if __name__ == "__main__":
    main()
