"""Carrying an edit of one plan over to another, as long as nobody else changed the same things.

For plans of the engine and for those that travel to the window alike: both name their fields the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

_TABLES = ("choices", "methods", "thresholds")


class PlanLike(Protocol):
    """What plans have in common."""

    @property
    def choices(self) -> Mapping[str, Any]: ...
    @property
    def methods(self) -> Mapping[str, Any]: ...
    @property
    def thresholds(self) -> Mapping[str, Any]: ...
    @property
    def corrections(self) -> tuple[str, ...]: ...
    @property
    def default_method(self) -> str: ...


def rebased(before: PlanLike, after: PlanLike, present: PlanLike) -> dict[str, Any]:
    """The fields of ``present`` that become different when what changed from ``before`` to ``after`` is done to it.

    Regions, target and compile options are not looked at: no remedy touches them.
    """
    fields: dict[str, Any] = {}
    for name in _TABLES:
        table = getattr(present, name)
        merged = _merged(getattr(before, name), getattr(after, name), table)
        if merged != table:
            fields[name] = merged
    kept = tuple(d for d in present.corrections if d in after.corrections or d not in before.corrections)
    added = tuple(digest for digest in after.corrections if digest not in before.corrections)
    corrections = (*(digest for digest in kept if digest not in added), *added)
    if corrections != present.corrections:
        fields["corrections"] = corrections
    if after.default_method not in (before.default_method, present.default_method):
        fields["default_method"] = after.default_method
    return fields


def _merged(before: Mapping[str, Any], after: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, Any]:
    gone = before.keys() - after.keys()
    changed = {key: value for key, value in after.items() if before.get(key) != value}
    return {key: value for key, value in present.items() if key not in gone} | changed
