"""Compute cases for the suite's runner: a folder a line on standard input, ``ok`` or what went wrong on the output."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from tests.conformance.tosa.case import run_case


def main() -> None:
    """Answer until the input ends."""
    torch.set_num_threads(1)
    for line in sys.stdin:
        try:
            run_case(Path(line.strip()))
        except Exception as error:  # whatever it is, it is the runner's result of this case
            print(" ".join(f"{type(error).__name__}: {error}".split()), flush=True)
        else:
            print("ok", flush=True)


if __name__ == "__main__":
    main()
