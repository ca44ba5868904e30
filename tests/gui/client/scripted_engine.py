"""A process that misbehaves on command, for what the real engine must never do. Run with the name of a script."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import msgspec

from engine.framing import frame, read_frame
from engine.service.messages import (
    Answer,
    AnyRequest,
    Calibrate,
    Calibrated,
    CompilationReady,
    Compile,
    Done,
    Failed,
    Open,
    PlanResolved,
    Ready,
    TimingReady,
    UpdatePlan,
)
from tests.gui import compilations, samples

LOG_VARIABLE = "SCRIPTED_ENGINE_LOG"


def send(answer: Answer) -> None:
    sys.stdout.buffer.write(frame(msgspec.msgpack.encode(answer)))
    sys.stdout.buffer.flush()


def log(text: str) -> None:
    with Path(os.environ[LOG_VARIABLE]).open("a", encoding="utf-8") as file:
        print(text, file=file)


def serve(script: str) -> None:
    send(Ready(id=0, targets=(("journey5", "Journey 5"),)))
    while (payload := read_frame(sys.stdin.buffer)) is not None:
        request = msgspec.msgpack.decode(payload, type=AnyRequest)
        log(type(request).__name__)
        answer(script, request)
    if script == "deaf":
        time.sleep(60)


def answer(script: str, request: AnyRequest) -> None:
    match request:
        case Open(path=path) if "poison" in path:
            print("poisoned", file=sys.stderr, flush=True)
            os._exit(9)
        case Open(path=path) if "missing" in path:
            send(Failed(id=request.id, message=f"{path}: no such file; choose another"))
        case Open(path=path):
            send(samples_opened(request.id, path))
        case Calibrate():
            send(Calibrated(id=request.id, samples=8, data=request.path))
        case UpdatePlan(plan=plan) if "poison" in plan.target:
            send(Failed(id=request.id, message="there is no target 'poison'; choose another"))
        case Compile() if script == "too-large":
            send(Failed(id=request.id, message="/stem/Conv: does not fit"))
        case Compile(revision=revision):
            send(CompilationReady(id=request.id, revision=revision, compilation=compilations.small()))
        case UpdatePlan(plan=plan, revision=revision):
            log(f"plan {sorted(plan.choices.items())}")
            misbehave(script, plan.choices)
            nodes = samples.node_plans(plan)
            send(PlanResolved(id=request.id, revision=revision, nodes=nodes, refusals=(), cpu_nodes=0))
            send(TimingReady(id=request.id, revision=revision, timing=samples.timing()))
            send(Done(id=request.id, revision=revision))
        case _:
            pass


def samples_opened(request_id: int, path: str) -> Answer:
    opened = samples.opened(project=path if path.endswith(".qscope") else "", calibrated=False)
    return msgspec.structs.replace(opened, id=request_id)


def misbehave(script: str, choices: dict[str, str]) -> None:
    """Marking a node float is what the script acts on; a marker file lets it happen only once."""
    if "float" not in choices.values():
        return
    once = Path(f"{os.environ[LOG_VARIABLE]}.once")
    if script.endswith("-once") and once.exists():
        return
    once.touch()
    if script.startswith("crash"):
        print("out of memory", file=sys.stderr, flush=True)
        os._exit(9)
    if script.startswith("garbage"):
        sys.stdout.buffer.write(b"Segmentation fault\n" * 10)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
