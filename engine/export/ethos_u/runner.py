"""Runs Vela on one network after the other. A program of its own: it imports nothing of ours, and may crash.

    python -P runner.py JOBS.json

The file holds a list of ``{"arguments": [...], "outcome": FILE}``. Each job's outcome is written when the job ends:
``{"problem": TEXT, "is_setup": BOOL}``, the text empty where Vela compiled the network, and the flag set where what is
wrong has nothing to do with the network. A job without an outcome is the one that Vela crashed on.
"""

# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# Vela is imported inside functions, so that this module can be looked at where there is none.

from __future__ import annotations

import contextlib
import io
import json
import sys
from pathlib import Path


def problem_with(arguments: list[str]) -> tuple[str, bool]:
    """Compile one network; why that failed ("" where it did not), and whether the options are to blame."""
    from ethosu.vela.errors import VelaError  # type: ignore[import-not-found]
    from ethosu.vela.vela import main as vela  # type: ignore[import-not-found]

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            status = vela(arguments)
    except SystemExit as end:  # its parser of arguments
        lines = said.getvalue().strip().splitlines()
        return lines[-1] if lines else f"exit status {end.code}", True
    except VelaError as error:
        return str(error).strip("'\"").removeprefix("Error: "), True
    except Exception as error:  # whatever it is, the next job must run
        return str(error) or type(error).__name__, False
    return (f"exit status {status}", False) if status else ("", False)


def main() -> None:
    """Run the jobs."""
    for job in json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")):
        problem, is_setup = problem_with(job["arguments"])
        outcome = json.dumps({"problem": problem, "is_setup": is_setup})
        Path(job["outcome"]).write_text(outcome, encoding="utf-8")


if __name__ == "__main__":
    main()
