"""Tables of measurements: what is read, and one located line for each that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import MeasurementError
from engine.fit.measurements import family_of, read_measurements
from engine.precision import Precision


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder with empty files of three models: reading a table only looks whether they are there."""
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("net_a", "net_b", "Other3"):
        (folder / f"{name}.onnx").touch()
    return folder


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "m.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_are_read_with_their_units_families_and_precisions(tmp_path: Path, models: Path) -> None:
    table = written(
        tmp_path,
        "model,latency_ms,latency_us,throughput_fps,family,precision,node,remark\n"
        "net_a,1.5,,1000,mine,int16,,first\n"
        "net_b,,250,,,,conv1,\n"
        "Other3,2,,,,auto,,\n",
    )
    first, second, third = read_measurements(table, models)
    assert (first.latency_us, first.throughput_fps) == (1500.0, 1000.0)
    assert (first.family, first.precision, first.row) == ("mine", Precision.INT16, 2)
    assert (second.latency_us, second.node, second.family, second.precision) == (250.0, "conv1", "net", Precision.AUTO)
    assert (third.latency_us, third.throughput_fps, third.family) == (2000.0, None, "other")
    assert third.path == models / "Other3.onnx"


@pytest.mark.parametrize(
    ("name", "family"),
    [("ResNet18", "resnet"), ("Mobilenetv4_conv_small", "mobilenetv"), ("my-net", "my"), ("3d", "3d")],
)
def test_a_family_is_the_first_part_of_the_name(name: str, family: str) -> None:
    assert family_of(name) == family


def test_throughputs_whose_frames_in_flight_are_not_those_of_the_others_are_doubted(
    tmp_path: Path, models: Path
) -> None:
    table = written(
        tmp_path,
        "model,latency_1thread_ms,latency_multithread_ms,throughput_fps\n"
        "net_a,2,8,500\nnet_b,1,4,990\nOther3,2.5,7.2,400\n",
    )
    doubts = [row.doubt for row in read_measurements(table, models)]
    assert doubts == ["", "", "2.88 frames in flight, 3.96 in the other rows"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the column 'model' (it has none)"),
        ("name,latency_ms\nnet_a,1\n", "lacks the column 'model' (it has name, latency_ms)"),
        ("model,size\nnet_a,1\n", "has no column with a measurement"),
        ("model,latency_ms,latency_ms\nnet_a,1,1\n", "has the column 'latency_ms' twice"),
        ("model,latency_ms\n", "has no rows"),
        ("model,latency_ms\nnet_a,1\nnet_x,1\n", "row 3: column 'model': 'net_x' has no file in"),
        ("model,latency_ms\n,1\n", "row 2: column 'model' is empty"),
        ("model,latency_ms\nnet_a,fast\n", "row 2: column 'latency_ms': 'fast' is no number"),
        ("model,latency_ms\nnet_a,0\n", "row 2: column 'latency_ms': 0 is not above 0"),
        ("model,throughput_fps\nnet_a,-3\n", "row 2: column 'throughput_fps': -3 is not above 0"),
        ("model,latency_ms\nnet_a,inf\n", "row 2: column 'latency_ms': inf is not above 0"),
        ("model,latency_ms\nnet_a,nan\n", "row 2: column 'latency_ms': nan is not above 0"),
        ("model,latency_ms\nnet_a,9e9\n", "row 2: column 'latency_ms': 9e9 would be 9e+12 us a frame"),
        ("model,throughput_fps\nnet_a,1e12\n", "row 2: column 'throughput_fps': 1e12 would be 1e-06 us a frame"),
        ("model,latency_ms\nnet_a,1\nnet_b,2\nnet_a,3\n", "row 4: measures 'net_a' again, as row 2 does"),
        ("model,latency_ms,throughput_fps\nnet_a,,\n", "row 2: holds no measurement"),
        ("model,node,latency_us,throughput_fps\nnet_a,conv,,9\n", "row 2: holds no measurement"),
        ("model,latency_ms,precision\nnet_a,1,float\n", "row 2: column 'precision': is 'float'"),
        ("model,latency_ms\nnet_a,1,2\n", "row 2: has more cells than the header"),
        ('model,latency_ms\n"net_a,1\n', "is not a table"),
    ],
)
def test_a_bad_table_is_one_line_with_its_row_and_column(
    tmp_path: Path, models: Path, text: str, message: str
) -> None:
    table = written(tmp_path, text)
    with pytest.raises(MeasurementError) as caught:
        read_measurements(table, models)
    assert str(caught.value).startswith(f"{table}: ")
    assert message in str(caught.value)
    assert caught.value.hint


def test_a_table_that_cannot_be_read_is_named(tmp_path: Path, models: Path) -> None:
    with pytest.raises(MeasurementError, match=r"absent\.csv"):
        read_measurements(tmp_path / "absent.csv", models)
