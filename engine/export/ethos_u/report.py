"""What Vela says of a network that it compiled: its summary and its operators, from the files that it writes."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ExportError

_TABLE = re.compile(r'<table name="(\w+)">\s*<!\[CDATA\[\n(.*?)\n?\]\]>\s*</table>', re.DOTALL)
_ACCESS = "_ac"
_WEIGHTS = "weight_total_bytes"
_MOVED = re.compile(r"(Sram|Dram|OnChipFlash|OffChipFlash)[A-Z]\w*_(?:read|write)")
_MEMORY_NAME = {"Sram": "sram", "Dram": "dram", "OnChipFlash": "on_chip_flash", "OffChipFlash": "off_chip_flash"}
_PASSED_THROUGH = "Passthrough"
_KIB = 1024
_MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")


@dataclass(frozen=True)
class VelaOperator:
    """An operator of the compiled network.

    ``source`` is the place in the network file of the operator that it comes from, None where it comes from none. One
    that runs as part of another has 0 cycles. ``cycles`` are those of the slowest of the array and the memories,
    ``npu_cycles`` of the array alone. ``moved_bytes`` are read and written by memory, in whole bursts;
    ``weight_bytes`` are those of its encoded weights.
    """

    operator: str
    source: int | None
    on_npu: bool
    cycles: int
    npu_cycles: int
    macs: int
    staging_bytes: int
    access_cycles: Mapping[str, int]
    moved_bytes: Mapping[str, int]
    weight_bytes: int

    @property
    def is_memory_bound(self) -> bool:
        """Whether it takes as long as a memory does, not the array."""
        return self.cycles > self.npu_cycles


@dataclass(frozen=True)
class VelaReport:
    """A compiled network: what it was compiled for, and Vela's estimate of it. ``memory_bytes`` are peaks by memory."""

    accelerator: str
    system_config: str
    memory_mode: str
    clock_hz: float
    cycles: int
    macs: int
    memory_bytes: Mapping[str, int]
    operators: tuple[VelaOperator, ...]


def read_report(folder: Path, stem: str) -> VelaReport:
    """The report on ``stem`` from the folder that Vela wrote to.

    Raises:
        ExportError: The files are missing, or not of the form that Vela 5 writes.
    """
    try:
        (summary,) = sorted(folder.glob(f"{stem}_summary_*.csv"))
        tables = _tables((folder / f"{stem}_debug.xml").read_text(encoding="utf-8"))
        return _report(_summary(summary), tables)
    except (OSError, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        hint = "install version 5.2 of ethos-u-vela"
        raise ExportError(f"Vela's report has another form ({type(error).__name__}: {error})", hint=hint) from error


def _summary(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return rows[0]


def _tables(text: str) -> dict[str, list[str]]:
    """Lines of the tables of the debug database by name. It is no XML to speak of: texts are not escaped."""
    return {match[1]: match[2].splitlines() for match in _TABLE.finditer(text)}


def _report(summary: Mapping[str, str], tables: Mapping[str, list[str]]) -> VelaReport:
    places = _places(tables["source"])
    header = next(csv.reader(tables["perf"][:1]))
    details = {row["id"]: row for row in csv.DictReader(tables["perf_debug"])}
    return VelaReport(
        accelerator=summary["accelerator_configuration"],
        system_config=summary["system_config"],
        memory_mode=summary["memory_mode"],
        clock_hz=float(summary["core_clock"]),
        cycles=int(float(summary["cycles_total"])),
        macs=int(float(summary["nn_macs"])),
        memory_bytes={name: round(float(summary[f"{name}_memory_used"]) * _KIB) for name in _MEMORIES},
        operators=tuple(_operator(header, line, places, details) for line in tables["perf"][1:]),
    )


def _places(lines: list[str]) -> dict[str, int]:
    """Place in the network file of each source operator, by its id."""
    rows = csv.reader(lines)
    header = next(rows)
    identity, place = header.index("id"), header.index("ext_key")
    return {row[identity]: int(row[place]) for row in rows}


def _moved(row: Mapping[str, str]) -> dict[str, int]:
    """Bytes that an operator reads and writes by memory."""
    sums: dict[str, int] = {}
    for title, text in row.items():
        match = _MOVED.fullmatch(title)
        if match is not None and text:
            memory = _MEMORY_NAME[match[1]]
            sums[memory] = sums.get(memory, 0) + int(text)
    return sums


def _operator(
    header: list[str], line: str, places: Mapping[str, int], details: Mapping[str, Mapping[str, str]]
) -> VelaOperator:
    name_at = header.index("name")
    behind = len(header) - name_at - 1
    # The name is a value's, may hold commas and quotes, and is not needed: cells are taken from both ends.
    cells = line.split(",")
    if len(cells) < len(header):
        raise ValueError(f"{len(cells)} cells under {len(header)} titles")
    values = dict(zip(header[:name_at], cells[:name_at], strict=True))
    values.update(zip(header[-behind:], cells[-behind:], strict=True))
    operator = values["operator"].strip('"')
    detail = details.get(values["id"], {})
    return VelaOperator(
        operator=operator,
        source=places.get(values["source_id"]),
        on_npu=operator != _PASSED_THROUGH,
        cycles=int(values["op_cycles"]),
        npu_cycles=int(values["npu_cycles"]),
        macs=int(values["mac_count"]),
        staging_bytes=int(values["staging_usage"]),
        access_cycles={
            key.removesuffix(_ACCESS).lower(): int(text) for key, text in values.items() if key.endswith(_ACCESS)
        },
        moved_bytes=_moved(detail),
        weight_bytes=int(detail.get(_WEIGHTS) or 0),
    )
