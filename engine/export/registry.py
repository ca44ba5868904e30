"""The export formats, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from engine.errors import ExportError
from engine.export.extras import needs_extra
from engine.export.integer_onnx import write_integer_onnx
from engine.export.options import EthosUOptions, ExportOptions, parse_options
from engine.export.package import write_package
from engine.export.package_format import SUFFIX
from engine.export.qdq import write_qdq
from engine.files import replacing
from engine.reports import ExportSummary

if TYPE_CHECKING:
    from engine.session import Session


Write = Callable[["Session", Path, Any], tuple[str, ...]]


@dataclass(frozen=True)
class Exporter:
    """One export format: its name, how menus call it, its usual suffix, and the function that writes it.

    ``write(session, path, options)`` returns notes for people; it raises ExportError where the plan has no such form,
    and has then written nothing. ``options`` is the record of what can be chosen.
    """

    name: str
    title: str
    suffix: str
    write: Write
    options: type[ExportOptions] = ExportOptions


def _one_file(write: Callable[[Session, BinaryIO], tuple[str, ...]]) -> Write:
    """The writer of a format that is a single file; the file appears whole or not at all."""

    def write_file(session: Session, path: Path, _options: ExportOptions) -> tuple[str, ...]:
        with replacing(path, ExportError) as stream:
            return write(session, stream)

    return write_file


def _write_tosa(session: Session, path: Path, _options: ExportOptions) -> tuple[str, ...]:
    with needs_extra("tosa"):
        from engine.export.tosa.write import write_tosa
    return write_tosa(session, path)


def _write_ethos_u(session: Session, path: Path, options: EthosUOptions) -> tuple[str, ...]:
    with needs_extra("ethos-u"):
        from engine.export.ethos_u.write import write_ethos_u
    return write_ethos_u(session, path, options)


EXPORTERS: Mapping[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Exporter("package", "Quantscope package", SUFFIX, _one_file(write_package)),
        Exporter("qdq", "ONNX with quantise and dequantise nodes", ".qdq.onnx", _one_file(write_qdq)),
        Exporter("integer-onnx", "ONNX in integers, bit for bit", ".integer.onnx", _one_file(write_integer_onnx)),
        Exporter("tosa", "TOSA 1.0 integer segments", ".tosa", _write_tosa),
        Exporter("ethos-u", "Compiled for Arm Ethos-U by Vela", ".ethos-u.json", _write_ethos_u, EthosUOptions),
    )
}


def export_session(
    session: Session, path: Path, format: str, options: Mapping[str, str] | None = None
) -> ExportSummary:
    """Write an export with options as texts by name; every file appears whole or not at all. The size is that of the
    file at ``path``.

    Raises:
        ExportError: The format or an option is unknown, a node cannot be expressed, or the file cannot be written.
        CalibrationError: The session is not calibrated.
    """
    exporter = EXPORTERS.get(format)
    if exporter is None:
        raise ExportError(f"unknown format '{format}'", hint=f"choose one of {', '.join(EXPORTERS)}")
    notes = exporter.write(session, path, parse_options(exporter.options, format, options or {}))
    return ExportSummary(str(path), format, path.stat().st_size, notes)
