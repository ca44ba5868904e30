"""The export formats, one row each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from engine.errors import ExportError
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

    ``write(session, stream)`` returns notes for people; it raises ExportError where the plan has no such form.
    """

    name: str
    title: str
    suffix: str
    write: Callable[[Session, BinaryIO], tuple[str, ...]]


EXPORTERS: Mapping[str, Exporter] = {
    exporter.name: exporter
    for exporter in (
        Exporter("package", "Quantscope package", SUFFIX, write_package),
        Exporter("qdq", "ONNX with quantise and dequantise nodes", ".qdq.onnx", write_qdq),
    )
}


def export_session(session: Session, path: Path, format: str) -> ExportSummary:
    """Write an export; the file appears whole or not at all.

    Raises:
        ExportError: The format is unknown, a node cannot be expressed, or the file cannot be written.
        CalibrationError: The session is not calibrated.
    """
    exporter = EXPORTERS.get(format)
    if exporter is None:
        raise ExportError(f"unknown format '{format}'", hint=f"choose one of {', '.join(EXPORTERS)}")
    with replacing(path, ExportError) as stream:
        notes = exporter.write(session, stream)
    return ExportSummary(str(path), format, path.stat().st_size, notes)
