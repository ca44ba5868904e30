"""The ``labels.csv`` beside a folder's pictures: ``file,class_index[,split]``."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

from engine import toml_io
from engine.errors import DataError

FILE_NAME = "labels.csv"


@dataclass(frozen=True)
class LabelRow:
    """One picture: its path inside the folder, its class, and the part of the data that it belongs to ("" is
    none).
    """

    file: str
    class_index: int
    split: str


def read_labels(path: Path) -> dict[str, LabelRow]:
    """The rows by file name, in the file's order.

    Raises:
        DataError: The header or a row is malformed, a class index is no integer or negative, or a file is
        named twice.
    """
    # newline handling by splitlines: file names with line breaks are not supported, and never meant
    reader = csv.reader(toml_io.read_text(path, DataError).splitlines(), strict=True)
    empty: list[str] = []
    try:
        header = [cell.strip() for cell in next(reader, empty)]
        _check_header(header, path)
        rows: dict[str, LabelRow] = {}
        for cells in reader:
            if not cells:
                continue
            row = _row(header, cells, reader.line_num, path)
            if row.file in rows:
                raise DataError(f"line {reader.line_num} names '{row.file}' a second time", path=path)
            rows[row.file] = row
    except csv.Error as failure:
        raise DataError(f"line {reader.line_num} is not valid CSV: {failure}", path=path) from failure
    return rows


def _check_header(header: list[str], path: Path) -> None:
    if header[:2] != ["file", "class_index"] or header[2:] not in ([], ["split"]):
        expected = "the header 'file,class_index' or 'file,class_index,split'"
        raise DataError(f"line 1 is '{','.join(header)}', expected {expected}", path=path)


def _row(header: list[str], cells: list[str], line: int, path: Path) -> LabelRow:
    if len(cells) != len(header):
        expected = f"{len(header)}: {','.join(header)}"
        raise DataError(f"line {line} has {len(cells)} fields, expected {expected}", path=path)
    file, class_text, split = (cell.strip() for cell in [*cells, ""][:3])
    try:
        class_index = int(class_text)
    except ValueError:
        class_index = -1
    if class_index < 0:
        message = f"line {line} ('{file}') has class_index '{class_text}', expected an integer of at least 0"
        raise DataError(message, path=path)
    return LabelRow(file, class_index, split)
