"""What the canvas itself can say about a node or a group: the hover card's text. No Qt."""

from __future__ import annotations

import html
from types import MappingProxyType

from gui.canvas.model import CanvasModel

_NOUNS = MappingProxyType({"ops": "operators"})


def describe(model: CanvasModel, item_id: str) -> str:
    """A few lines of simple HTML about a node or a group; "" for an unknown id."""
    node = model.scene.index.get(item_id)
    group = model.group(item_id)
    if node is not None:
        return "<br>".join(_node_lines(model, node))
    return "" if group is None else "<br>".join(_group_lines(model, group))


def _node_lines(model: CanvasModel, node: int) -> list[str]:
    shown, decoration = model.scene.nodes[node], model.decoration(node)
    lines = [f"<b>{html.escape('/'.join((*shown.namespace, shown.title)))}</b>"]
    lines.append(html.escape(f"{shown.op_type}   {shown.shapes}"))
    if decoration.requested or decoration.effective:
        lines.append(f"requested {decoration.requested or 'auto'}, effective {decoration.effective or '–'}")
    if decoration.fused_into:
        lines.append(f"computed within {html.escape(decoration.fused_into)}")
    if model.scale is not None:
        lines.append(html.escape(f"{model.scale.label} {model.scale.format(float(model.values[node]))}"))
    return lines


def _group_lines(model: CanvasModel, group: int) -> list[str]:
    summary = model.group_decoration(group)
    lines = [f"<b>{html.escape(model.hierarchy.groups[group].id)}</b>"]
    lines.append(f"{model.hierarchy.groups[group].size} {_NOUNS.get(model.scene.noun, model.scene.noun)}")
    if summary.effective:
        lines.append(f"precision {summary.effective}")
    if summary.chosen:
        lines.append(f"{summary.chosen} set by you, {summary.refused} of them refused")
    worst = model.worst_of_group(group)
    if worst is not None and model.scale is not None and model.scale.categories:
        box = model.box_of(model.hierarchy.groups[group].id)
        if box is not None:
            lines.append(html.escape(f"mostly {model.scale.format(float(model.heat().value[box]))}"))
    elif worst is not None and model.scale is not None:
        name = html.escape(model.scene.nodes[worst].title)
        lines.append(html.escape(f"worst {model.scale.label} {model.scale.format(float(model.values[worst]))}"))
        lines[-1] += f" at {name}"
    return lines
