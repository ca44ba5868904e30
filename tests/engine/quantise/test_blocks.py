"""Blocks: together the whole program, each between values that all of it passes through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from engine.ops.elementwise import Add
from engine.ops.linear import Conv, Linear
from engine.quantise import blocks
from engine.quantise.blocks import Block, blocks_of
from engine.session import Session


def found_in(session: Session) -> tuple[Block, ...]:
    return blocks_of(session.graph, session.resolve(), session.program())


@pytest.mark.parametrize("name", ["mobile_fmnist", "swin_fmnist"])
def test_blocks_are_the_program_cut_at_its_waists(models: Path, name: str) -> None:
    session = Session.open(models / f"{name}.qscope")
    graph, found = session.graph, found_in(session)
    units = [unit for block in found for unit in block.units]
    assert units == [unit.anchor for unit in session.resolve().units]
    assert sorted(node for block in found for node in block.nodes) == sorted(graph.by_id)
    for block in found:
        (output,) = block.outputs
        readers = {reader.id for reader in graph.consumers.get(output, ())}
        assert readers.isdisjoint(block.nodes) or output in graph.outputs or isinstance(graph.producer[output].op, Add)
        layers = [node for node in block.nodes if isinstance(graph.by_id[node].op, Conv | Linear)]
        assert len(layers) >= blocks.FEWEST_LAYERS or block is found[-1]
    assert sum(isinstance(graph.producer[block.outputs[0]].op, Add) for block in found) >= 4, "residual connections"
    assert found[-1].outputs == tuple(graph.outputs)


def test_what_has_no_waist_is_taken_unit_by_unit(
    open_mobile: Callable[[], Session], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = open_mobile()
    monkeypatch.setattr(blocks, "MOST_LAYERS", 2)
    found = found_in(session)
    assert [unit for block in found for unit in block.units] == [unit.anchor for unit in session.resolve().units]
    alone = [block for block in found if len(block.units) == 1]
    assert len(alone) > 20
    assert all(block.outputs for block in alone)
