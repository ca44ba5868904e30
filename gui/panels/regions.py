"""What the window says about fusion regions. Qt-free."""

from __future__ import annotations

from engine.reports import RegionPlan, RegionVerdict
from gui.canvas.scene import SceneRegion
from gui.document.document import Document
from gui.panels import formats


def saving_text(verdict: RegionVerdict) -> str:
    """What a legal region saves: "saves 12.3 µs and 45 KB of memory traffic", with the engine's note."""
    saving_us, saved_bytes = verdict.saving_us or 0.0, verdict.saved_bytes or 0
    parts = [f"{formats.number(saving_us, 'µs')}"] if saving_us > 0 else []
    if saved_bytes > 0:
        parts.append(f"{formats.size(saved_bytes)} of memory traffic")
    text = f"saves {' and '.join(parts)}" if parts else "saves nothing by the estimate"
    return f"{text}; {verdict.note}" if verdict.note else f"{text}."


def refusal_text(verdict: RegionVerdict) -> str:
    """Why nodes cannot be fused, and what can be instead."""
    nearest = f" {len(verdict.nearest)} nodes nearby can be fused." if verdict.nearest else ""
    reason = verdict.reason if verdict.reason.endswith(".") else f"{verdict.reason}."
    return f"Cannot fuse: {reason}{nearest}"


def refusal_details(verdict: RegionVerdict) -> str:
    """The rule in full, with what was measured and the nodes concerned."""
    lines = [f"{verdict.rule}: {verdict.text}"]
    if verdict.measured is not None and verdict.limit is not None:
        lines.append(f"measured {formats.number(verdict.measured)}, limit {formats.number(verdict.limit)}")
    lines += [f"offending: {', '.join(verdict.offending)}"] if verdict.offending else []
    lines += [f"nearest legal region: {', '.join(verdict.nearest)}"] if verdict.nearest else []
    return "\n".join(lines)


def state_text(region: RegionPlan | None, verdict: RegionVerdict | None) -> str:
    """Whether a region takes effect and what it saves: "legal, saves 12.3 µs", or why not."""
    if region is None:
        return "not resolved yet"
    if not region.legal:
        return f"not in effect: {region.reason}"
    return "legal" if verdict is None or not verdict.legal else f"legal, {saving_text(verdict).rstrip('.')}"


def regions_of(document: Document) -> tuple[SceneRegion, ...]:
    """The plan's fusion regions for the canvas; one that the engine has not judged yet counts as legal."""
    resolved = document.results.resolved.regions
    return tuple(
        SceneRegion(name, nodes, is_legal=name not in resolved or resolved[name].legal)
        for name, nodes in document.plan.regions
    )
