"""Project files: what they keep, how they read, and that no failure costs the old one."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import MappingProxyType

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import toml_io
from engine.calibrate.recipe import Recipe
from engine.calibrate.result import METHOD_NAMES, CalibrationResult, TensorRange
from engine.errors import DataError, ProjectError
from engine.plan.compile_options import CompileOptions, Goal, Level
from engine.plan.types import Plan, Region
from engine.precision import Precision
from engine.project import (
    CalibrationRecord,
    CompileRecord,
    DataReference,
    FusionRegion,
    ModelReference,
    ProjectFile,
    TargetReference,
    check_digest,
    load_project,
    locate_model,
    located,
    reference_to,
)

FULL = ProjectFile(
    model=ModelReference(path="models/net.onnx", digest="0123abcd", bindings={"width": 320, "batch": 1}),
    target=TargetReference(name="journey5"),
    compile=CompileRecord(goal=Goal.BALANCED, weight=0.25, level=Level.O3, cores=2),
    data=DataReference(path="../pictures", split="calibration", samples=64, input=Recipe(size=(4, 6), mean=127.0)),
    calibration=CalibrationRecord(samples=64, fingerprint="beef", methods={"net/b": "kl", "net/a": "max"}),
    choices={"net/z": Precision.FLOAT, "net/a": Precision.INT16, "net/m": Precision.AUTO},
    regions=(FusionRegion(name="stem", nodes=("net/b", "net/a")),),
    ranges={
        "z first": TensorRange(min=-1.25, max=2.0, percentile=1.9, mse=1.8, kl=1e-05, mse16=2.0),
        "a": TensorRange(min=0.0, max=0.0, percentile=0.0, mse=0.0, kl=0.0, mse16=0.0),
    },
)

FULL_TEXT = """\
# A Quantscope project. Paths are relative to this file; whatever is left out has its default.
# [choices] holds the nodes that are not "auto"; [ranges] what calibration measured, one value a line.
format = 1

[model]
path = "models/net.onnx"
digest = "0123abcd"
bindings = { batch = 1, width = 320 }

[target]
name = "journey5"

[compile]
goal = "balanced"
weight = 0.25
level = "O3"
cores = 2

[data]
path = "../pictures"
split = "calibration"
samples = 64

[data.input]
size = [4, 6]
crop = "center"
crop_fraction = 1.0
resample = "bilinear"
channels = "RGB"
layout = "NCHW"
mean = 127.0
scale = 1.0

[calibration]
method = "mse"
percentile = 99.99
samples = 64
fingerprint = "beef"

[calibration.methods]
"net/a" = "max"
"net/b" = "kl"

[choices]
"net/a" = "int16"
"net/z" = "float"

[[regions]]
name = "stem"
nodes = ["net/b", "net/a"]

[ranges]
"z first" = { min = -1.25, max = 2.0, percentile = 1.9, mse = 1.8, kl = 1e-05, mse16 = 2.0 }
a = { min = 0.0, max = 0.0, percentile = 0.0, mse = 0.0, kl = 0.0, mse16 = 0.0 }
"""

SMALL_TEXT = 'format = 1\n[model]\npath = "m.onnx"\ndigest = "d"\n[target]\nname = "t"\n'


def test_text_is_what_a_person_expects() -> None:
    assert FULL.to_text() == FULL_TEXT


def test_saved_and_loaded(tmp_path: Path) -> None:
    path = tmp_path / "p.qscope"
    FULL.save(path)
    assert path.read_bytes() == FULL_TEXT.encode()
    again = load_project(path)
    assert again.to_text() == FULL_TEXT
    assert again.plan == FULL.plan and again.result == FULL.result
    assert list(again.ranges) == ["z first", "a"]


def test_small_project_has_defaults(tmp_path: Path) -> None:
    path = tmp_path / "p.qscope"
    path.write_text(SMALL_TEXT)
    project = load_project(path)
    assert project.plan == Plan() and project.result is None and project.data is None
    assert project.plan.compile == CompileOptions()
    assert "[compile]" not in project.to_text()
    assert project.data_recipe(path) is None


NAME = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=8)
NUMBER = st.floats(0, 1e30).map(lambda value: float(f"{value:.6g}"))
RANGES = st.builds(
    lambda a, b, *rest: TensorRange(min=-a, max=b, percentile=rest[0], mse=rest[1], kl=rest[2], mse16=rest[3]),
    *[NUMBER] * 6,
)


@given(
    choices=st.dictionaries(NAME, st.sampled_from(list(Precision)), max_size=4),
    methods=st.dictionaries(NAME, st.sampled_from(METHOD_NAMES), max_size=3),
    default=st.sampled_from(METHOD_NAMES),
    regions=st.lists(st.tuples(NAME, st.lists(NAME, max_size=3)), max_size=2),
    ranges=st.dictionaries(NAME, RANGES, max_size=3),
    options=st.builds(
        CompileOptions,
        goal=st.sampled_from(list(Goal)),
        weight=st.floats(0, 1),
        level=st.sampled_from(list(Level)),
        cores=st.none() | st.integers(1, 64),
    ),
    recipe=st.one_of(st.none(), st.builds(Recipe, size=st.integers(1, 500), scale=st.floats(0.1, 100))),
    paths=st.tuples(NAME, NAME),
)
def test_round_trip(
    choices: dict[str, Precision],
    methods: dict[str, str],
    default: str,
    regions: list[tuple[str, list[str]]],
    ranges: dict[str, TensorRange],
    options: CompileOptions,
    recipe: Recipe | None,
    paths: tuple[str, str],
) -> None:
    plan = Plan(
        choices=MappingProxyType({node: p for node, p in choices.items() if p is not Precision.AUTO}),
        methods=MappingProxyType(methods),
        default_method=default,
        regions=tuple(Region(name, tuple(nodes)) for name, nodes in regions),
        compile=options,
    )
    result = CalibrationResult(ranges=ranges, samples=2, fingerprint="ff") if ranges else None
    project = ProjectFile(
        model=ModelReference(path=paths[0], digest="d"),
        target=TargetReference(name="t"),
        data=DataReference(path=paths[1], input=recipe),
    )
    project = project.with_plan(plan).with_result(result)
    text = project.to_text()
    path = Path("p.qscope")
    again = toml_io.convert(toml_io.parse(text, path, ProjectError), ProjectFile, path, ProjectError)
    assert again.plan == plan
    assert again.result == result
    assert again == project
    assert again.to_text() == text


def test_text_does_not_depend_on_the_order_of_choices() -> None:
    reverse = dict(reversed(FULL.choices.items()))
    methods = dict(reversed(FULL.calibration.methods.items()))
    record = msgspec.structs.replace(FULL.calibration, methods=methods)
    assert msgspec.structs.replace(FULL, choices=reverse, calibration=record).to_text() == FULL_TEXT


def test_one_choice_is_one_line_of_difference() -> None:
    marked = FULL.with_plan(FULL.plan.mark(("net/q",), Precision.LUT))
    old, new = set(FULL_TEXT.splitlines()), set(marked.to_text().splitlines())
    assert new - old == {'"net/q" = "lut"'} and not old - new


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "is not a Quantscope project: it has no 'format' number"),
        ("format = 2\nanything = 1", "has format 2, expected 1; open it with the version"),
        ("format = 1\n[model", "is not valid TOML: "),
        ("format = 1", "object missing required field `model`"),
        (SMALL_TEXT + "[extra]\n", "object contains unknown field `extra`, expected format, model, target, data"),
        (SMALL_TEXT + "colour = 1\n", "key 'target': object contains unknown field `colour`, expected name"),
        (SMALL_TEXT + '[choices]\n"a/b" = "int4"', "invalid enum value 'int4'"),
        (SMALL_TEXT + "[choices]\na = 8", "key 'choices[...]': expected `str`, got `int`"),
        (SMALL_TEXT + '[calibration]\nmethod = "best"', "key 'calibration.method': invalid enum value 'best', exp"),
        (SMALL_TEXT + '[compile]\ngoal = "fast"', "key 'compile.goal': invalid enum value 'fast', expected one of 'la"),
        (SMALL_TEXT + "[compile]\nlevel = 2", "key 'compile.level': expected `str`, got `int`"),
        (SMALL_TEXT + "[compile]\nweight = 1.5", "key 'compile.weight': expected `float` <= 1.0"),
        (SMALL_TEXT + "[compile]\nweight = nan", "key 'compile.weight': expected `float` >= 0.0"),
        (SMALL_TEXT + "[compile]\ncores = 0", "key 'compile.cores': expected `int` >= 1"),
        (SMALL_TEXT + "[compile]\nspeed = 1", "unknown field `speed`, expected goal, weight, level, cores"),
        (SMALL_TEXT + "[calibration]\npercentile = 0", "key 'calibration.percentile': expected `float` > 0"),
        (SMALL_TEXT + '[data]\npath = "d"\nrecipe = "r"\n[data.input]\nsize = 1', "has both 'recipe' (a path) and"),
        (SMALL_TEXT + '[data]\npath = "d"\nsamples = 0', "key 'data.samples': expected `int` >= 1"),
        (SMALL_TEXT + "[ranges]\na = { min = 1.0 }", "object missing required field `max`"),
        (SMALL_TEXT.replace('"d"', "5"), "key 'model.digest': expected `str`, got `int`"),
    ],
)
def test_malformed(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "p.qscope"
    path.write_text(text)
    with pytest.raises(ProjectError) as caught:
        load_project(path)
    assert expected in str(caught.value) and str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


def test_files_that_are_no_text(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="cannot be read: No such file"):
        load_project(tmp_path / "none.qscope")
    (tmp_path / "b.qscope").write_bytes(b"\x80\x04pickle\xff")
    with pytest.raises(ProjectError, match="not a text file"):
        load_project(tmp_path / "b.qscope")


def test_failed_save_leaves_the_old_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.qscope"
    FULL.save(path)

    def full_disk(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(ProjectError, match="No space left on device; what was there before is unchanged"):
        FULL.with_plan(Plan()).save(path)
    monkeypatch.undo()
    assert path.read_text() == FULL_TEXT
    assert list(tmp_path.iterdir()) == [path]


def test_model_that_moved_or_changed(tmp_path: Path) -> None:
    path = tmp_path / "p.qscope"
    with pytest.raises(ProjectError, match=r"its model .*net\.onnx is not there; move it back, or correct path"):
        locate_model(FULL, path)
    model = tmp_path / "models" / "net.onnx"
    model.parent.mkdir()
    model.write_bytes(b"")
    assert locate_model(FULL, path) == model
    check_digest(FULL, path, "0123abcd")
    with pytest.raises(ProjectError, match=r"was changed: its digest is ffff, the project is for 0123abcd; put"):
        check_digest(FULL, path, "ffff")


def test_references_are_relative(tmp_path: Path) -> None:
    project = tmp_path / "a" / "p.qscope"
    assert reference_to(tmp_path / "a" / "m.onnx", project) == "m.onnx"
    assert reference_to(tmp_path / "d" / "m.onnx", project) == "../d/m.onnx"
    assert located("../d/m.onnx", project) == tmp_path / "d" / "m.onnx"


def test_relative_project_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert located("m.onnx", Path("p.qscope")) == tmp_path / "m.onnx"
    assert reference_to(Path("m.onnx"), Path("sub/p.qscope")) == "../m.onnx"


def test_recipe_inline_or_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "p.qscope"
    assert FULL.data_recipe(path) == Recipe(size=(4, 6), mean=127.0)
    data = DataReference(path="d", recipe="r.toml")
    project = msgspec.structs.replace(FULL, data=data)
    with pytest.raises(DataError, match=r"r\.toml: cannot be read"):
        project.data_recipe(path)
    (tmp_path / "r.toml").write_text("[input]\nsize = 7\n")
    assert project.data_recipe(path) == Recipe(size=7)


def test_unknown_method_in_a_plan() -> None:
    with pytest.raises(ProjectError, match="unknown calibration method 'magic'"):
        FULL.with_plan(Plan(default_method="magic"))
