"""The engine's export formats as the window offers them, one row each. Qt-free."""

from __future__ import annotations

from dataclasses import dataclass

from engine.export.options import EthosUOptions, ExportOptions, OptionField, option_fields


@dataclass(frozen=True)
class ExportFormat:
    """A format: the engine's name for it, what menus say, what its files are called, and what can be chosen."""

    name: str
    title: str
    help: str
    suffix: str
    filter: str
    options: type[ExportOptions] = ExportOptions

    @property
    def fields(self) -> tuple[OptionField, ...]:
        """What can be chosen, for a form."""
        return option_fields(self.options)

    @property
    def command(self) -> str:
        """Id of the command that writes it."""
        return f"export.{self.name}"


EXPORT_FORMATS = {
    row.name: row
    for row in (
        ExportFormat(
            "package",
            "Export Package …",
            "Write a package that runs with the same bits",
            ".qspkg",
            "Packages (*.qspkg)",
        ),
        ExportFormat(
            "qdq",
            "Export QDQ ONNX …",
            "Write an ONNX file with quantise and dequantise nodes",
            ".qdq.onnx",
            "ONNX models (*.onnx)",
        ),
        ExportFormat(
            "integer-onnx",
            "Export Integer ONNX …",
            "Write an ONNX file that computes the same bits in any runtime",
            ".integer.onnx",
            "ONNX models (*.onnx)",
        ),
        ExportFormat("tosa", "Export TOSA …", "Write the integer segments as TOSA 1.0", ".tosa", "TOSA (*.tosa)"),
        ExportFormat(
            "ethos-u",
            "Export for Ethos-U …",
            "Compile the integer segments for an Arm Ethos-U with Vela",
            ".ethos-u.json",
            "Summaries (*.ethos-u.json)",
            EthosUOptions,
        ),
    )
}
