"""Both sides, unit by unit, are what they are when they run whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from engine.analyze.evaluator import Sample
from engine.graph.graph import Node
from engine.program.executor import run_program
from engine.quantise.lockstep import Lockstep, live_bytes
from engine.session import Session


def test_values_are_those_of_whole_runs(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    program, samples = session.program(), tuple(session.samples(2))
    walk = Lockstep(session.evaluator.model, program, samples)
    seen: dict[tuple[int, str], torch.Tensor] = {}

    def look(place: int, node: Node, output: torch.Tensor) -> None:
        seen[place, node.outputs[0]] = output.clone()

    integers: dict[tuple[int, str], torch.Tensor] = {}
    for place, instruction in enumerate(program.instructions):
        walk.run_float(instruction, look)
        for index in range(len(samples)):
            integers |= {
                (index, name): walk.integers(index, name)
                for name in instruction.inputs
                if name not in program.constants
            }
        walk.run_integers(place, instruction)
    for index, sample in enumerate(samples):
        _same(session, sample, index, seen, integers)


def _same(
    session: Session,
    sample: Sample,
    index: int,
    seen: dict[tuple[int, str], torch.Tensor],
    integers: dict[tuple[int, str], torch.Tensor],
) -> None:
    reference = session.evaluator.reference(sample)
    floats = {name: value for (place, name), value in seen.items() if place == index}
    assert set(session.graph.outputs) <= set(floats)
    for name, value in floats.items():
        torch.testing.assert_close(value, reference[name], rtol=1e-4, atol=1e-4)
    program = session.program()
    left_out = {*program.inputs.values(), *program.outputs}
    names = [name for place, name in integers if place == index and name not in left_out]
    inputs = {name: torch.from_numpy(array) for name, array in sample.inputs.items()}
    whole = run_program(program, inputs, keep=names)
    assert len(names) > 20
    assert all(torch.equal(integers[index, name], whole[name]) for name in names)


def test_what_the_integers_lack(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    program, (sample,) = session.program(), tuple(session.samples(1))
    reference, walk = session.evaluator.reference(sample), Lockstep(session.evaluator.model, program, (sample,))
    seen = 0
    for place, instruction in enumerate(program.instructions):
        walk.run_float(instruction)
        for name in instruction.inputs:
            if name in reference and walk.is_there(name) and program.types[name].is_quantised:
                real = walk.integers(0, name) * program.types[name].scale
                torch.testing.assert_close(walk.lost(0, name) + real, reference[name], rtol=1e-4, atol=1e-4)
                seen += 1
        walk.run_integers(place, instruction)
    assert seen >= 10


def test_what_nobody_reads_any_more_is_gone(open_mobile: Callable[[], Session]) -> None:
    session = open_mobile()
    program = session.program()
    walk = Lockstep(session.evaluator.model, program, tuple(session.samples(1)))
    for place, instruction in enumerate(program.instructions):
        walk.run_float(instruction)
        walk.run_integers(place, instruction)
    for name in program.types:
        with pytest.raises(KeyError):
            walk.integers(0, name)
    largest = max(session.graph.types[value].element_count for node in session.graph.nodes for value in node.outputs)
    assert live_bytes(session.graph) >= 5 * largest
