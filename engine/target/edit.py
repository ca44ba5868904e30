"""Changing a target's figures, and writing it as the TOML file that it could have been read from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import msgspec

from engine.target.figures import Figure
from engine.target.target import Capability, StatedError, Target
from engine.toml_io import literal


def with_figures(target: Target, changed: Mapping[str, Figure]) -> Target:
    """The target with other figures; keys are paths as ``dma.bandwidth``.

    Raises:
        KeyError: A path names no section.
    """
    sections: dict[str, dict[str, Figure]] = {}
    for path, figure in changed.items():
        section, _, name = path.partition(".")
        sections.setdefault(section, {})[name] = figure
    new: dict[str, object] = {}
    for section, entries in sections.items():
        if section not in target.__struct_fields__:
            raise KeyError(section)
        new[section] = msgspec.structs.replace(cast("msgspec.Struct", getattr(target, section)), **entries)
    return msgspec.structs.replace(target, **new)


def with_stated_error(target: Target, stated: StatedError) -> Target:
    """The target with another stated error."""
    return msgspec.structs.replace(target, stated_error=stated)


def figure_at(target: Target, path: str) -> Figure:
    """The figure of a path as ``dma.bandwidth``."""
    section, _, name = path.partition(".")
    return cast("Figure", getattr(getattr(target, section), name))


def target_text(target: Target, comment: str = "") -> str:
    """The target as TOML, one line a figure; reading it gives the target again. ``comment`` stands in front."""
    blocks = ["\n".join(f"# {line}".rstrip() for line in comment.splitlines())] if comment else []
    for name in target.__struct_fields__:
        lines = _lines(getattr(target, name))
        if lines:
            blocks.append("\n".join([f"[{name}]", *lines]))
    return "\n\n".join(blocks) + "\n"


def _lines(section: object) -> list[str]:
    if isinstance(section, dict):
        rows = cast("dict[str, Capability]", section)
        return [f"{name} = {_capability(capability)}" for name, capability in rows.items()]
    if section is None or section == StatedError():
        return []
    struct = cast("msgspec.Struct", section)
    entries = ((name, getattr(struct, name)) for name in struct.__struct_fields__)
    return [f"{name} = {_value(value)}" for name, value in entries if value is not None and value != ""]


def _value(value: Figure | str) -> str:
    if isinstance(value, str):
        return literal(value)
    number = int(value.value) if float(value.value).is_integer() else value.value
    return f"{{ value = {number!r}, unit = {literal(value.unit)}, source = {literal(value.source)} }}"


def _capability(capability: Capability) -> str:
    precisions = ", ".join(literal(precision.value) for precision in capability.precisions)
    return f"{{ precisions = [{precisions}], source = {literal(capability.source)} }}"
