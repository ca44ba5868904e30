"""What the window says about fusion regions. Qt-free."""

from __future__ import annotations

from engine.reports import RegionPlan, RegionSplit, RegionVerdict
from gui.canvas.draft import DraftCard, DraftChoice, RegionDraft
from gui.canvas.scene import SceneRegion
from gui.document.document import Document
from gui.panels import formats

FUSE_COMMAND = "region.fuse"
NEAREST_COMMAND = "region.fuse_nearest"
SHOW_COMMAND = "region.show_nodes"


def saving_text(verdict: RegionVerdict) -> str:
    """What a legal region saves: "saves 12.3 µs and 45 KB of memory traffic", or costs, with the engine's note."""
    saving_us, saved_bytes = verdict.saving_us or 0.0, verdict.saved_bytes or 0
    time, traffic = formats.number(abs(saving_us), "µs"), f"{formats.size(abs(saved_bytes))} of memory traffic"
    saved = [text for text, value in ((time, saving_us), (traffic, saved_bytes)) if value > 0]
    costs = [text for text, value in ((time, saving_us), (traffic, saved_bytes)) if value < 0]
    parts = [f"{verb} {' and '.join(what)}" for verb, what in (("saves", saved), ("costs", costs)) if what]
    text = ", but ".join(parts) or "saves nothing by the estimate"
    return f"{text}; {verdict.note}" if verdict.note else f"{text}."


def draft_of(verdict: RegionVerdict, nearest: RegionVerdict | None, is_dropped: bool) -> RegionDraft:
    """A region that might be, for the canvas. ``nearest`` is what the engine says of the nearest legal one, if it was
    asked; ``is_dropped``: the nodes are chosen, and something can be done about them.
    """
    return RegionDraft(
        nodes=verdict.nodes,
        is_legal=verdict.legal,
        card=_legal_card(verdict, is_dropped) if verdict.legal else _illegal_card(verdict, nearest, is_dropped),
        offending=verdict.offending,
        nearest=verdict.nearest,
    )


def _legal_card(verdict: RegionVerdict, is_dropped: bool) -> DraftCard:
    fuse = DraftChoice(FUSE_COMMAND, "Fuse  (G)", "Have these nodes run as one kernel")
    return DraftCard(
        f"✓ {len(verdict.nodes)} nodes can be one kernel", (saving_text(verdict),), (fuse,) if is_dropped else ()
    )


def _illegal_card(verdict: RegionVerdict, nearest: RegionVerdict | None, is_dropped: bool) -> DraftCard:
    lines = [_sentence(verdict.reason)]
    count = len(verdict.nearest)
    if nearest is not None and nearest.legal:
        lines.append(f"The nearest {count} nodes that can: {saving_text(nearest)}")
    else:
        lines.append(f"The nearest that can: {count} nodes." if count else "No nodes nearby can be fused.")
    choices = [DraftChoice(NEAREST_COMMAND, f"Fuse Nearest {count}  (Enter)", "Fuse the dashed nodes")] if count else []
    if verdict.offending:
        choices.append(DraftChoice(SHOW_COMMAND, "Show Nodes", "Select the nodes that break the rule"))
    title = f"✗ {len(verdict.nodes)} nodes cannot be one kernel"
    return DraftCard(title, tuple(lines), tuple(choices) if is_dropped else ())


def _sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}" + ("" if text.endswith(".") else ".")


def split_text(name: str, split: RegionSplit, count: int) -> str:
    """What cutting a region of ``count`` nodes did, or why it cannot be cut."""
    if split.reason:
        side = f" with {len(split.refused.nodes)} nodes on one side" if split.refused is not None else ""
        return f"Cannot split {name}{side}: {_sentence(split.reason)}"
    kept = [f"{part.name} of {len(part.nodes)} nodes" for part in split.parts]
    alone = count - sum(len(part.nodes) for part in split.parts)
    if alone:
        kept.append(f"{alone} nodes without a region" if alone > 1 else "one node without a region")
    return f"Split {name} into {' and '.join(kept)}."


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
