"""The export formats, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from engine.errors import ExportError
from engine.export.integer_onnx import write_integer_onnx
from engine.export.package import write_package
from engine.export.package_format import SUFFIX
from engine.export.qdq import write_qdq
from engine.files import replacing
from engine.reports import ExportSummary

if TYPE_CHECKING:
    from engine.session import Session


@dataclass(frozen=True)
class Exporter:
    """One export format: its name, how menus call it, its usual suffix, and the function that writes it.

    ``write(session, path)`` returns notes for people; it raises ExportError where the plan has no such form, and has
    then written nothing.
    """

    name: str
    title: str
    suffix: str
    write: Callable[[Session, Path], tuple[str, ...]]


def _one_file(write: Callable[[Session, BinaryIO], tuple[str, ...]]) -> Callable[[Session, Path], tuple[str, ...]]:
    """The writer of a format that is a single file; the file appears whole or not at all."""

    def write_file(session: Session, path: Path) -> tuple[str, ...]:
        with replacing(path, ExportError) as stream:
            return write(session, stream)

    return write_file


def _write_tosa(session: Session, path: Path) -> tuple[str, ...]:
    try:
        from engine.export.tosa.write import write_tosa
    except ModuleNotFoundError as error:
        package, hint = (error.name or "").partition(".")[0], 'pip install "quantscope[tosa]"'
        raise ExportError(f"the tosa export needs the package '{package}'", hint=hint) from error
    return write_tosa(session, path)


EXPORTERS: Mapping[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Exporter("package", "Quantscope package", SUFFIX, _one_file(write_package)),
        Exporter("qdq", "ONNX with quantise and dequantise nodes", ".qdq.onnx", _one_file(write_qdq)),
        Exporter("integer-onnx", "ONNX in integers, bit for bit", ".integer.onnx", _one_file(write_integer_onnx)),
        Exporter("tosa", "TOSA 1.0 integer segments", ".tosa", _write_tosa),
    )
}


def export_session(session: Session, path: Path, format: str) -> ExportSummary:
    """Write an export; every file appears whole or not at all. The size is that of the file at ``path``.

    Raises:
        ExportError: The format is unknown, a node cannot be expressed, or the file cannot be written.
        CalibrationError: The session is not calibrated.
    """
    exporter = EXPORTERS.get(format)
    if exporter is None:
        raise ExportError(f"unknown format '{format}'", hint=f"choose one of {', '.join(EXPORTERS)}")
    notes = exporter.write(session, path)
    return ExportSummary(str(path), format, path.stat().st_size, notes)
