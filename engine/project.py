"""The project file ``*.qscope``: the user's work on one model as text that a person reads and git diffs.

Paths in it are relative to the project file, with forward slashes. What is not said has its default. The
model, the data and the recipe stay in files of their own, which are never changed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec

from engine import toml_io
from engine.calibrate.recipe import Recipe, dump_recipe, load_recipe
from engine.calibrate.result import DEFAULT_METHOD, CalibrationResult, Method, TensorRange
from engine.errors import ProjectError
from engine.files import write_atomic
from engine.plan.compile_options import CompileOptions, Goal, Level
from engine.plan.types import Plan, Region
from engine.precision import Precision

FORMAT = 1
SUFFIX = ".qscope"

_HEADER = """\
# A Quantscope project. Paths are relative to this file; whatever is left out has its default.
# [choices] holds the nodes that are not "auto"; [ranges] what calibration measured, one value a line.
"""

_Count = Annotated[int, msgspec.Meta(ge=1)]
_Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the file's tables: an unknown key is an error, not something to lose on the next save."""


class ModelReference(_Table, frozen=True, kw_only=True):
    """The model file, the digest of its contents (``Graph.digest``), and the sizes of its symbolic
    dimensions.
    """

    path: str
    digest: str
    bindings: dict[str, _Count] = {}


class TargetReference(_Table, frozen=True, kw_only=True):
    """A target's name, or the path of a target description."""

    name: str


class DataReference(_Table, frozen=True, kw_only=True):
    """The calibration data: a folder of pictures or an ``.npz`` file, which part of it, and how pictures are
    prepared.

    ``input`` is a recipe written into the project, ``recipe`` the path of a recipe file; at most one of them
    is given.
    """

    path: str
    split: str | None = None
    samples: _Count | None = None
    recipe: str | None = None
    input: Recipe | None = None

    def __post_init__(self) -> None:
        if self.recipe is not None and self.input is not None:
            raise ValueError("has both 'recipe' (a path) and an 'input' table, expected one of them")


class CalibrationRecord(_Table, frozen=True, kw_only=True):
    """Method choices, and what the ranges were measured on.

    ``method`` holds for values that ``methods`` (value name -> method) does not name; ``samples`` is 0 and
    ``fingerprint`` empty before the first calibration. ``power_of_two``: scales are powers of two.
    """

    method: Method = DEFAULT_METHOD
    percentile: Annotated[float, msgspec.Meta(gt=0, le=100)] = 99.99
    samples: Annotated[int, msgspec.Meta(ge=0)] = 0
    fingerprint: str = ""
    methods: dict[str, Method] = {}
    power_of_two: bool = False


class FusionRegion(_Table, frozen=True, kw_only=True):
    """Nodes that the user wants computed as one kernel."""

    name: str
    nodes: tuple[str, ...]


class CompileRecord(_Table, frozen=True, kw_only=True):
    """What is asked of the compiler: see :class:`engine.plan.compile_options.CompileOptions`. Without ``cores``, all of
    the target.
    """

    goal: Goal = Goal.LATENCY
    weight: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.5
    level: Level = Level.O2
    cores: _Count | None = None

    @staticmethod
    def of(options: CompileOptions) -> CompileRecord:
        return CompileRecord(
            goal=options.goal, weight=options.weight, level=options.level, cores=options.cores
        )

    @property
    def options(self) -> CompileOptions:
        return CompileOptions(self.goal, self.weight, self.level, self.cores)


class ProjectFile(_Table, frozen=True, kw_only=True):
    """Everything that a project file says. Immutable: an edit makes a new one
    (``msgspec.structs.replace``).
    """

    format: int = FORMAT
    model: ModelReference
    target: TargetReference
    data: DataReference | None = None
    compile: CompileRecord = CompileRecord()
    calibration: CalibrationRecord = CalibrationRecord()
    choices: dict[str, Precision] = {}
    regions: tuple[FusionRegion, ...] = ()
    thresholds: dict[str, Annotated[float, msgspec.Meta(gt=0)]] = {}
    corrections: tuple[_Digest, ...] = ()
    ranges: dict[str, TensorRange] = {}

    @property
    def plan(self) -> Plan:
        """The user's choices."""
        return Plan(
            choices=MappingProxyType({n: p for n, p in self.choices.items() if p is not Precision.AUTO}),
            methods=MappingProxyType(dict(self.calibration.methods)),
            default_method=self.calibration.method,
            regions=tuple(Region(region.name, region.nodes) for region in self.regions),
            compile=self.compile.options,
            thresholds=MappingProxyType(dict(self.thresholds)),
            corrections=self.corrections,
            power_of_two=self.calibration.power_of_two,
        )

    def with_plan(self, plan: Plan) -> ProjectFile:
        """The project with other choices.

        Raises:
            ProjectError: The plan names a calibration method that there is not.
        """
        record = msgspec.structs.replace(
            self.calibration,
            method=_method(plan.default_method),
            methods=_methods(plan.methods),
            power_of_two=plan.power_of_two,
        )
        return msgspec.structs.replace(
            self,
            compile=CompileRecord.of(plan.compile),
            calibration=record,
            choices=dict(plan.choices),
            regions=tuple(FusionRegion(name=region.name, nodes=region.nodes) for region in plan.regions),
            thresholds=dict(plan.thresholds),
            corrections=plan.corrections,
        )

    @property
    def result(self) -> CalibrationResult | None:
        """What calibration measured; None before the first calibration."""
        if not self.ranges:
            return None
        record = self.calibration
        return CalibrationResult(
            ranges=self.ranges,
            samples=record.samples,
            fingerprint=record.fingerprint,
            percentile=record.percentile,
        )

    def with_result(self, result: CalibrationResult | None) -> ProjectFile:
        """The project with what a calibration measured (None: nothing yet)."""
        if result is None:
            record = msgspec.structs.replace(self.calibration, samples=0, fingerprint="")
            return msgspec.structs.replace(self, calibration=record, ranges={})
        record = msgspec.structs.replace(
            self.calibration,
            samples=result.samples,
            fingerprint=result.fingerprint,
            percentile=result.percentile,
        )
        return msgspec.structs.replace(self, calibration=record, ranges=dict(result.ranges))

    def data_recipe(self, project_path: Path) -> Recipe | None:
        """The recipe of the calibration data, from this file or the recipe file that it names.

        Raises:
            DataError: The recipe file is missing or malformed.
        """
        if self.data is None or self.data.recipe is None:
            return None if self.data is None else self.data.input
        return load_recipe(located(self.data.recipe, project_path))

    def save(self, path: Path) -> None:
        """Write the project; the file is exchanged as a whole or not at all.

        Raises:
            ProjectError: The file cannot be written (full disk, read-only folder); the old one is intact.
        """
        write_atomic(path, self.to_text(), ProjectError)

    def to_text(self) -> str:
        """The file's text: the same for equal projects, with one line per choice and per range."""
        head = toml_io.entries({"corrections": self.corrections}) if self.corrections else ()
        return "\n\n".join(["\n".join([_HEADER + f"format = {self.format}", *head]), *_sections(self)]) + "\n"


def load_project(path: Path) -> ProjectFile:
    """Read a project file. The files that it refers to are not touched.

    Raises:
        ProjectError: The file is missing, malformed, or of a newer format.
    """
    tables = toml_io.parse(toml_io.read_text(path, ProjectError), path, ProjectError)
    written = tables.get("format")
    if not isinstance(written, int):
        raise ProjectError("is not a Quantscope project: it has no 'format' number", path=path)
    if written != FORMAT:
        hint = "open it with the version of Quantscope that wrote it, or a newer one"
        raise ProjectError(f"has format {written}, expected {FORMAT}", path=path, hint=hint)
    return toml_io.convert(tables, ProjectFile, path, ProjectError)


def locate_model(project: ProjectFile, project_path: Path) -> Path:
    """The path of the project's model.

    Raises:
        ProjectError: There is no such file: it was moved, renamed or deleted.
    """
    path = located(project.model.path, project_path)
    if not path.is_file():
        hint = "move it back, or correct path under [model] in the project file"
        raise ProjectError(f"its model {path} is not there", path=project_path, hint=hint)
    return path


def check_digest(project: ProjectFile, project_path: Path, digest: str) -> None:
    """Raise unless ``digest`` is that of the model which the project was made for.

    Raises:
        ProjectError: The model was changed since.
    """
    if digest != project.model.digest:
        model = located(project.model.path, project_path)
        digests = f"its digest is {digest}, the project is for {project.model.digest}"
        message = f"its model {model} was changed: {digests}"
        hint = "put the old file back, or make a new project with 'quantscope new'"
        raise ProjectError(message, path=project_path, hint=hint)


def located(reference: str, project_path: Path) -> Path:
    """The path that a project's reference leads to."""
    return Path(os.path.normpath(project_path.absolute().parent / reference))


def reference_to(path: Path, project_path: Path) -> str:
    """How a project refers to a path: relative to itself with forward slashes, or absolute from another
    drive.
    """
    folder = project_path.absolute().parent
    try:
        relative = os.path.relpath(path.absolute(), folder)
    except ValueError:  # another drive
        return path.absolute().as_posix()
    return Path(relative).as_posix()


def _method(name: str) -> Method:
    try:
        return msgspec.convert(name, Method)
    except msgspec.ValidationError as failure:
        raise ProjectError(f"unknown calibration method '{name}'") from failure


def _methods(methods: Mapping[str, str]) -> dict[str, Method]:
    return {value: _method(name) for value, name in methods.items()}


def _sections(project: ProjectFile) -> Iterator[str]:
    """The file's tables as text, in their fixed order; empty ones are left out."""
    model, record = project.model, project.calibration
    named: dict[str, toml_io.Value] = {"path": model.path, "digest": model.digest}
    if model.bindings:
        named["bindings"] = dict(sorted(model.bindings.items()))
    yield _table("model", named)
    yield _table("target", {"name": project.target.name})
    wanted = _compile_entries(project.compile)
    if wanted:
        yield _table("compile", wanted)
    if project.data is not None:
        yield from _data_sections(project.data)
    measured: dict[str, toml_io.Value] = {"method": record.method, "percentile": record.percentile}
    if record.power_of_two:
        measured["power_of_two"] = True
    if record.fingerprint:
        measured |= {"samples": record.samples, "fingerprint": record.fingerprint}
    yield _table("calibration", measured)
    if record.methods:
        yield _table("calibration.methods", dict(sorted(record.methods.items())))
    choices = {node: p.value for node, p in sorted(project.choices.items()) if p is not Precision.AUTO}
    if choices:
        yield _table("choices", choices)
    if project.thresholds:
        yield _table("thresholds", dict(sorted(project.thresholds.items())))
    for region in project.regions:
        yield _table("regions", {"name": region.name, "nodes": region.nodes}, array=True)
    if project.ranges:
        yield _table("ranges", {value: _numbers(r) for value, r in project.ranges.items()})


def _numbers(measured: TensorRange) -> dict[str, toml_io.Value]:
    """What of a range was measured."""
    return {name: number for name, number in msgspec.structs.asdict(measured).items() if number is not None}


def _compile_entries(record: CompileRecord) -> dict[str, toml_io.Value]:
    """What differs from the defaults."""
    usual = CompileRecord()
    written: dict[str, toml_io.Value] = {}
    if record.goal is not usual.goal:
        written["goal"] = record.goal.value
    if record.weight != usual.weight:
        written["weight"] = record.weight
    if record.level is not usual.level:
        written["level"] = record.level.value
    if record.cores is not None:
        written["cores"] = record.cores
    return written


def _data_sections(data: DataReference) -> Iterator[str]:
    options = {"split": data.split, "samples": data.samples, "recipe": data.recipe}
    given = {key: value for key, value in options.items() if value is not None}
    yield _table("data", {"path": data.path, **given})
    if data.input is not None:
        yield dump_recipe(data.input, "data.input").rstrip("\n")


def _table(name: str, table: Mapping[str, toml_io.Value], array: bool = False) -> str:
    return "\n".join([f"[[{name}]]" if array else f"[{name}]", *toml_io.entries(table)])
