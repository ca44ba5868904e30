"""``python -m engine.tune.worker PROJECT``: measures trials for :class:`engine.tune.processes.Processes`.

Frames on standard input are trials, those on standard output answers, the first of which says that the project is open.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO

import msgspec

from engine.errors import QuantscopeError
from engine.framing import frame, read_frame
from engine.tune.bench import Bench, open_bench
from engine.tune.records import Answer, Trial


def serve(bench: Bench, requests: IO[bytes], answers: IO[bytes]) -> None:
    """Answer trials until there are no more."""
    decoder = msgspec.msgpack.Decoder(Trial)
    while (payload := read_frame(requests)) is not None:
        try:
            answer = Answer(bench.measure(decoder.decode(payload), lambda: False))
        except QuantscopeError as error:
            answer = Answer(failure=str(error))
        _send(answers, answer)


def _send(answers: IO[bytes], answer: Answer) -> None:
    answers.write(frame(msgspec.msgpack.encode(answer)))
    answers.flush()


def main() -> None:
    """Serve on standard input and output; whatever else prints goes to standard error."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        bench = open_bench(Path(sys.argv[1]))
    except QuantscopeError as error:
        _send(answers, Answer(failure=str(error)))
        return
    try:
        _send(answers, Answer())
        serve(bench, requests, answers)
    except BrokenPipeError:
        pass  # who asked is gone


if __name__ == "__main__":
    main()
