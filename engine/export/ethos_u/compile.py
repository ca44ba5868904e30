"""A session's integer segments through Vela: compiled, or which units it refuses and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import ExportError
from engine.export.ethos_u.report import VelaReport, read_report
from engine.export.ethos_u.vela import Job, Vela
from engine.export.options import AUTO, EthosUOptions, option_fields
from engine.export.segments import INTEGER, Segment, cut, segment_key
from engine.export.tosa.segment import TosaSegment
from engine.export.tosa.write import Step as TosaStep
from engine.export.tosa.write import tosa_of
from engine.program.types import Dequantise, Instruction, Quantise

if TYPE_CHECKING:
    from engine.session import Session

HOST = "host"
"""Kind of a segment that Vela refuses: integers all the same, computed by something else."""

_USUAL_ACCELERATOR = "ethos-u85-256"
_STEM = "segment"
_OUTPUTS = {"tflite": "_vela.tflite", "raw": "_vela.npz"}


@dataclass(frozen=True)
class CompiledSegment:
    """What Vela made of a segment: its report, and its files by what their names end in."""

    report: VelaReport
    files: Mapping[str, bytes]


@dataclass(frozen=True)
class Step(TosaStep):
    """A step of the execution; ``compiled`` where it runs on the NPU."""

    compiled: CompiledSegment | None = None


@dataclass(frozen=True)
class Compilation:
    """The program in steps, why Vela refuses units that are left to the host, and why it took segments in halves."""

    steps: tuple[Step, ...]
    refusals: Mapping[str, str]
    halved: tuple[str, ...] = ()


class Compiler:
    """Compiles one session with one set of options, in a folder for scratch files."""

    def __init__(self, session: Session, vela: Vela, options: EthosUOptions, scratch: Path) -> None:
        self._session = session
        self._vela = vela
        self._options = options
        self._arguments = vela_arguments(options, accelerator_of(session, options))
        self._scratch = scratch
        self._alone: dict[str, str] = {}

    def run(self) -> Compilation:
        """Compile all segments.

        What Vela refuses is left to the host where the options say so. A segment that it does not compile, though it
        takes each of its units, becomes two; that was seen with crashes only.

        Raises:
            CalibrationError: The session is not calibrated.
            ExportError: Vela refuses a unit or crashes on it, or an instruction has no TOSA form.
        """
        refusals: dict[str, str] = {}
        starts: set[str] = set()
        crashes: list[str] = []
        while True:
            steps = self._steps(refusals, starts)
            compiled, problems = self._compile(steps)
            if not problems:
                return Compilation(compiled, refusals, tuple(crashes))
            for place, problem in problems.items():
                refused = self._refused_units(steps[place].segment)
                refusals.update(refused)
                if not refused:
                    starts.add(self._middle(steps[place].segment, problem))
                    crashes.append(problem)
            if refusals and self._options.refused != HOST:
                raise self._refusal(refusals)

    def _steps(self, refusals: Mapping[str, str], starts: Set[str]) -> tuple[Step, ...]:
        """The program cut into segments; those of the NPU also before the units ``starts``."""
        program = self._session.program()
        units = dict.fromkeys(item.unit for item in program.instructions)
        parts = dict(zip(units, accumulate(unit in starts for unit in units), strict=True))

        def key_of(item: Instruction) -> tuple[str, int, int]:
            kind, opset, part = segment_key(item, parts[item.unit])
            return (HOST, 0, 0) if kind == INTEGER and item.unit in refusals else (kind, opset, part)

        return tuple(Step(segment, tosa_of(self._session, segment)) for segment in cut(program, key_of))

    def _compile(self, steps: Sequence[Step]) -> tuple[tuple[Step, ...], dict[int, str]]:
        """The steps with what Vela made of them, and its problems by place of the step."""
        places = [place for place, step in enumerate(steps) if step.tosa and step.segment.kind == INTEGER]
        networks = [tosa for place in places if (tosa := steps[place].tosa)]
        problems = self._vela_on(networks)
        found = dict(zip(places, problems, strict=True))
        result = list(steps)
        for number, place in enumerate(places):
            if not found[place]:
                result[place] = Step(steps[place].segment, steps[place].tosa, self._collected(number))
        return tuple(result), {place: problem for place, problem in found.items() if problem}

    def _vela_on(self, networks: Sequence[TosaSegment]) -> list[str]:
        jobs = [Job(Path(str(number), f"{_STEM}.tosa"), Path(str(number))) for number in range(len(networks))]
        for job, network in zip(jobs, networks, strict=True):
            folder = self._scratch / job.folder
            folder.mkdir(exist_ok=True)
            for old in folder.iterdir():
                old.unlink()
            (self._scratch / job.network).write_bytes(network.data)
        return self._vela.compile(jobs, self._arguments, self._scratch)

    def _collected(self, number: int) -> CompiledSegment:
        folder = self._scratch / str(number)
        files = {
            file.name.removeprefix(_STEM): file.read_bytes()
            for file in sorted(folder.iterdir())
            if file.suffix != ".tosa"
        }
        return CompiledSegment(read_report(folder, _STEM), files)

    def _refused_units(self, segment: Segment) -> Mapping[str, str]:
        """The units of a segment that Vela does not take even alone, with its reasons."""
        pieces = {unit: tosa for unit, tosa in self._pieces(segment) if tosa and unit not in self._alone}
        self._alone.update(zip(pieces, self._vela_on(list(pieces.values())), strict=True))
        return {unit: self._alone[unit] for unit in _units(segment) if self._alone.get(unit)}

    def _middle(self, segment: Segment, problem: str) -> str:
        """The unit that the second half of a segment begins with."""
        units = _units(segment)
        if len(units) == 1:  # alone, with nothing of it left out, Vela took it
            accelerator = accelerator_of(self._session, self._options)
            raise ExportError(
                f"Vela does not always compile it for {accelerator}: {problem}", node=units[0], hint="mark it float"
            )
        return units[len(units) // 2]

    def _pieces(self, segment: Segment) -> Iterator[tuple[str, TosaSegment | None]]:
        """Every unit of a segment as a network of its own."""
        program = self._session.program()
        for unit, run in groupby(segment.instructions, key=lambda item: item.unit):
            items = tuple(item for item in run if not isinstance(item.op, Quantise | Dequantise))
            made = tuple(name for item in items for name in item.outputs)
            read = {name for item in program.instructions if item.unit != unit for name in item.inputs}
            leaving = tuple(name for name in made if name in read or name in program.outputs.values())
            yield unit, tosa_of(self._session, Segment(INTEGER, 0, items, (), leaving))

    def _refusal(self, refusals: Mapping[str, str]) -> ExportError:
        (unit, reason), *others = refusals.items()
        accelerator = accelerator_of(self._session, self._options)
        more = f" (and {len(others)} more: {', '.join(name for name, _ in others[:3])}{' …' * (len(others) > 3)})"
        return ExportError(
            f"Vela refuses it for {accelerator}: {reason}{more if others else ''}",
            node=unit,
            hint="mark it float, choose another accelerator, or leave it to the host (--option refused=host)",
        )


def _units(segment: Segment) -> list[str]:
    """The units of a segment, in order, without the seams."""
    items = [item for item in segment.instructions if not isinstance(item.op, Quantise | Dequantise)]
    return list(dict.fromkeys(item.unit for item in items))


def accelerator_of(session: Session, options: EthosUOptions) -> str:
    """The accelerator to compile for: the one that is asked for, else the target's, else a usual one."""
    if options.accelerator != AUTO:
        return options.accelerator
    choices = next(item.choices for item in option_fields(EthosUOptions) if item.name == "accelerator")
    return session.target.name if session.target.name in choices else _USUAL_ACCELERATOR


def vela_arguments(options: EthosUOptions, accelerator: str) -> list[str]:
    """Options of Vela's command line."""
    arguments = ["--accelerator-config", accelerator, "--optimise", options.optimise, "--output-format", options.output]
    named = {
        "--system-config": options.system_config,
        "--memory-mode": options.memory_mode,
        "--config": options.config and str(Path(options.config).resolve()),
    }
    for flag, value in named.items():
        arguments += [flag, value] if value else []
    return [*arguments, "--enable-debug-db", "--verbose-performance"]
