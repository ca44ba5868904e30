"""Measurements of models or of single layers on a board, read from a table.

One row a measurement, one column each of what was measured; other columns are ignored:

- ``model``: the file ``DIR/MODEL.onnx`` (or another form that the product opens);
- ``latency_ms``, ``latency_us`` or ``latency_1thread_ms``: one frame, nothing else running, the host's part included;
- ``throughput_fps``: frames a second with several in flight;
- ``latency_multithread_ms`` (optional): of each frame meanwhile. Their product is the number of frames in flight
  (Little's law). Where it differs from that of the other rows, latency and throughput were not taken together, and the
  throughput is left out of the fit;
- ``node`` (optional): the row is the time of the kernel of this node alone; it then needs a latency;
- ``family`` (optional): models that are judged together by a fit that has seen none of them; without it the first
  part of the name, up to a digit, ``_`` or ``-``;
- ``precision`` (optional): ``auto``, or an integer precision that every node was converted to where it can be.
"""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from engine.errors import MeasurementError
from engine.precision import Precision
from engine.toml_io import read_text

MODEL_SUFFIXES = (".onnx", ".pt2", ".pt")
"""Of files that a row's model may be, in the order of looking."""

LATENCY_COLUMNS: Mapping[str, float] = {"latency_us": 1.0, "latency_ms": 1e3, "latency_1thread_ms": 1e3}
"""Column to microseconds a unit."""

THROUGHPUT_COLUMN = "throughput_fps"
LOADED_LATENCY_COLUMN = "latency_multithread_ms"

LONGEST_US = 3.6e9
"""An hour: a frame or layer that took longer is a mistake in the table."""

SHORTEST_US = 1e-3
_IN_FLIGHT_TOLERANCE = 0.1


@dataclass(frozen=True)
class Measurement:
    """One row.

    Attributes:
        row: Its line in the file, from 1.
        path: Of the model's file.
        node: Id of the node whose kernel alone was measured; "": the whole model.
        latency_us, throughput_fps: None where the row does not hold it.
        doubt: Why the throughput is left out of the fit; "" where it is not.
    """

    row: int
    model: str
    path: Path
    family: str
    precision: Precision = Precision.AUTO
    node: str = ""
    latency_us: float | None = None
    throughput_fps: float | None = None
    doubt: str = ""


def read_measurements(table: Path, models: Path) -> tuple[Measurement, ...]:
    """The rows of a table (CSV), whose models lie in a folder.

    Raises:
        MeasurementError: The table cannot be read, lacks a column or has no rows; a row names a model that is not
            there, repeats another, or holds what no measurement can be. The message names the row and the column.
    """
    return _Reader(table, models).read()


class _Reader:
    def __init__(self, table: Path, models: Path) -> None:
        self.table = table
        self.models = models
        self.seen: dict[tuple[str, str, Precision], int] = {}
        self.in_flight: dict[int, float] = {}

    def read(self) -> tuple[Measurement, ...]:
        reader = csv.DictReader(io.StringIO(read_text(self.table, MeasurementError)), strict=True)
        try:
            columns = [name.strip() for name in reader.fieldnames or ()]
            self._check_columns(columns)
            reader.fieldnames = columns
            rows = [self._row(reader.line_num, cells) for cells in reader]
        except csv.Error as error:
            raise self._error(reader.line_num, f"is not a table: {error}", "write comma-separated values") from error
        if not rows:
            raise MeasurementError("has no rows", path=self.table, hint="add one row a measurement")
        return self._doubted(rows)

    def _check_columns(self, columns: Sequence[str]) -> None:
        repeated = sorted({name for name in columns if columns.count(name) > 1})
        if repeated:
            raise MeasurementError(f"has the column '{repeated[0]}' twice", path=self.table, hint="keep one of them")
        if "model" not in columns:
            text = f"lacks the column 'model' (it has {', '.join(columns) or 'none'})"
            raise MeasurementError(text, path=self.table, hint="name each row's model there")
        if not {*LATENCY_COLUMNS, THROUGHPUT_COLUMN} & set(columns):
            text = "has no column with a measurement"
            hint = f"add one of {', '.join((*LATENCY_COLUMNS, THROUGHPUT_COLUMN))}"
            raise MeasurementError(text, path=self.table, hint=hint)

    def _row(self, row: int, cells: Mapping[str | None, str | Sequence[str] | None]) -> Measurement:
        if None in cells:
            raise self._error(row, "has more cells than the header", "quote what holds a comma")
        texts = {str(name): value.strip() for name, value in cells.items() if isinstance(value, str)}
        model, node = texts.get("model", ""), texts.get("node", "")
        if not model:
            raise self._error(row, "column 'model' is empty", "name the model's file without its ending")
        latency_us = self._latency_us(row, texts)
        fps = self._number(row, THROUGHPUT_COLUMN, texts)
        period_us = None if fps is None else 1e6 / fps
        self._check_range(row, THROUGHPUT_COLUMN, texts, period_us)
        if latency_us is None and (fps is None or node):
            raise self._error(row, "holds no measurement", "give its latency" + ("" if node else " or throughput"))
        loaded_ms = self._number(row, LOADED_LATENCY_COLUMN, texts)
        if loaded_ms is not None and fps is not None and not node:
            self.in_flight[row] = loaded_ms * 1e-3 * fps
        precision = self._precision(row, texts.get("precision", ""))
        key = (model, node, precision)
        if key in self.seen:
            text = f"measures '{model}'{f', node {node!r},' if node else ''} again, as row {self.seen[key]} does"
            raise self._error(row, text, "keep one of the two")
        self.seen[key] = row
        return Measurement(
            row=row,
            model=model,
            path=self._model_file(row, model),
            family=texts.get("family", "") or family_of(model),
            precision=precision,
            node=node,
            latency_us=latency_us,
            throughput_fps=None if node else fps,
        )

    def _latency_us(self, row: int, texts: Mapping[str, str]) -> float | None:
        for column, unit_us in LATENCY_COLUMNS.items():
            value = self._number(row, column, texts)
            if value is not None:
                self._check_range(row, column, texts, value * unit_us)
                return value * unit_us
        return None

    def _number(self, row: int, column: str, texts: Mapping[str, str]) -> float | None:
        text = texts.get(column, "")
        if not text:
            return None
        try:
            value = float(text)
        except ValueError:
            raise self._error(row, f"column '{column}': {text!r} is no number", "write it as 1.25") from None
        if not math.isfinite(value) or value <= 0.0:
            raise self._error(row, f"column '{column}': {text} is not above 0", "measure it, or leave the cell empty")
        return value

    def _check_range(self, row: int, column: str, texts: Mapping[str, str], us: float | None) -> None:
        if us is not None and not SHORTEST_US <= us <= LONGEST_US:
            text = f"column '{column}': {texts[column]} would be {us:.3g} us a frame"
            raise self._error(row, text, f"look at the unit; {SHORTEST_US:g} to {LONGEST_US:g} us are possible")

    def _precision(self, row: int, text: str) -> Precision:
        allowed = (Precision.AUTO, Precision.INT8, Precision.INT16)
        if text and text not in allowed:
            raise self._error(row, f"column 'precision': is {text!r}", f"write one of {', '.join(allowed)}")
        return Precision(text) if text else Precision.AUTO

    def _model_file(self, row: int, model: str) -> Path:
        for suffix in MODEL_SUFFIXES:
            path = self.models / f"{model}{suffix}"
            if path.is_file():
                return path
        text = f"column 'model': '{model}' has no file in {self.models}"
        raise self._error(row, text, f"put {model}.onnx there, or take the row out")

    def _doubted(self, rows: Sequence[Measurement]) -> tuple[Measurement, ...]:
        """The rows, with those marked whose frames in flight are not those of the others."""
        if len(self.in_flight) < 3:
            return tuple(rows)
        usual = statistics.median(self.in_flight.values())
        return tuple(
            replace(row, doubt=f"{self.in_flight[row.row]:.2f} frames in flight, {usual:.2f} in the other rows")
            if abs(self.in_flight.get(row.row, usual) / usual - 1.0) > _IN_FLIGHT_TOLERANCE
            else row
            for row in rows
        )

    def _error(self, row: int, text: str, hint: str) -> MeasurementError:
        return MeasurementError(f"row {row}: {text}", path=self.table, hint=hint)


def family_of(model: str) -> str:
    """The first part of a name, in small letters: 'resnet' of 'ResNet18', 'mobilenetv' of 'Mobilenetv4_conv_small'."""
    found = re.match(r"[^\d_-]+", model.lower())
    return found[0] if found else model.lower()
