"""Programs run in planned memory through views: the same bits, and other bits where the plan is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.clock.check import check_compiled
from engine.clock.estimate import Estimator
from engine.compile.layout import LayoutPlan, Storage, plan_layout
from engine.compile.orders import ANYWHERE, Reach
from engine.compile.replay import replay, replay_compiled, rescaled_inputs, stands
from engine.compile.types import Compiled
from engine.ops.elementwise import Add
from engine.ops.layout import Concat, Roll
from engine.ops.reduce import LayerNorm
from engine.plan.compile_options import CompileOptions, Level
from engine.precision import Precision
from engine.session import Session
from engine.simulate.placement import placements_of
from tests.conformance.planned import Choices, planned
from tests.conformance.random_models import random_model

MODELS = Path(__file__).parents[3] / "resources" / "models"
IN_PLACE_SEEDS = (8, 135, 413, 496, 583)
SHIFTED_SEEDS = (15, 107, 199, 221, 255, 258)


def plan_of(session: Session, reach: Reach = ANYWHERE) -> LayoutPlan:
    rescaled = rescaled_inputs(session.graph, session.program())
    return plan_layout(session.graph, placements_of(session.graph, session.resolve()), reach=reach, rescaled=rescaled)


def inputs_of(session: Session) -> Mapping[str, torch.Tensor]:
    rng = np.random.default_rng(3)
    kinds = {name: session.graph.types[name] for name in session.graph.inputs}
    return {name: torch.from_numpy(rng.normal(size=kind.shape).astype(np.float32)) for name, kind in kinds.items()}


def drawn(seed: int, folder: Path) -> Session:
    model = random_model(seed)
    return planned(model, Choices.drawn(model), folder)


@pytest.fixture(scope="module")
def swin() -> Session:
    return Session.open(MODELS / "swin_fmnist.qscope")


def test_the_demo_transformer_needs_no_movement(swin):
    plan = plan_of(swin)
    found = replay(swin.graph, swin.program(), plan, inputs_of(swin))
    assert found.is_equal and found.elements > 1_000_000
    assert found.skipped > 60 and found.moves == 0
    assert plan.bytes.removed == 1.0
    assert any(isinstance(swin.graph.by_id[anchor].op, Roll) for anchor in plan.eliminated)
    assert found.arena_bytes < found.buffer_bytes / 4  # so buffers do share addresses


@pytest.mark.parametrize(("reach", "most"), [(Reach(), 4), (Reach(strides=2), 12), (Reach(strides=1), 24)])
def test_what_engines_cannot_follow_is_moved_with_the_same_bits(swin, reach, most):
    plan = plan_of(swin, reach)
    found = replay(swin.graph, swin.program(), plan, inputs_of(swin))
    assert found.is_equal and 0 < found.moves == len(plan.moved) <= most
    assert all(len(moves) == 1 for moves in plan.moved.values())


def test_the_demo_of_convolutions_lies_channels_last():
    session = Session.open(MODELS / "mobile_fmnist.qscope")
    plan = plan_of(session)
    assert replay(session.graph, session.program(), plan, inputs_of(session)).is_equal
    images = [s.view for s in plan.storages.values() if len(s.view.axes) == 4 and s.view.axes[1]]
    assert len(images) > 20 and all(view.axes[1][-1].stride == 1 for view in images)


@pytest.mark.parametrize("precision", [Precision.INT16, Precision.FLOAT])
def test_precisions_and_the_cpu_in_between_change_no_bits(swin, precision):
    session = Session(swin.graph, swin.target_reference)
    session.calibration, session.data = swin.calibration, swin.data
    plan = swin.plan
    for node in swin.graph.nodes[::5]:
        plan = plan.mark((node.id,), precision)
    session.set_plan(plan)
    assert replay(session.graph, session.program(), plan_of(session), inputs_of(session)).is_equal


def compiled(session: Session, level: Level) -> Compiled:
    options = CompileOptions(level=level)
    simulation = Estimator(session.graph, session.target).simulate(session.resolve(), options)
    check_compiled(simulation.compiled, simulation.trace, session.target)
    return simulation.compiled


@pytest.mark.parametrize("level", [Level.O0, Level.O1, Level.O2])
@pytest.mark.parametrize("name", ["swin_fmnist", "mobile_fmnist"])
def test_fused_and_unfused_kernels_at_their_addresses_compute_the_same_bits(name, level):
    session = Session.open(MODELS / f"{name}.qscope")
    found = replay_compiled(session.graph, session.program(), compiled(session, level), inputs_of(session))
    assert found.differing == () and found.elements > 500_000


def test_a_region_of_the_user_computes_the_same_bits():
    session = Session.open(MODELS / "swin_fmnist.qscope")
    kernels = [costed.kernel.units for costed in compiled(session, Level.O2).kernels]
    asked = ([node for unit in units for node in unit.frame.unit.nodes] for units in kernels if len(units) > 1)
    session.fuse(next(nodes for nodes in asked if session.region_verdict(nodes).legal), "mine")
    again = compiled(session, Level.O1)
    assert [costed.kernel.region for costed in again.kernels].count("mine") == 1
    assert replay_compiled(session.graph, session.program(), again, inputs_of(session)).is_equal


def test_an_address_that_is_shared_too_early_changes_bits():
    session = Session.open(MODELS / "swin_fmnist.qscope")
    form = compiled(session, Level.O1)
    buffers, plan = form.sram.problem.buffers, form.sram.plan
    long = max(range(len(buffers)), key=lambda index: buffers[index].last - buffers[index].first)
    inside = next(i for i, b in enumerate(buffers) if buffers[long].first < b.first <= b.last < buffers[long].last)
    addresses = [plan.addresses[long] if index == inside else at for index, at in enumerate(plan.addresses)]
    bent = replace(form, sram=replace(form.sram, plan=replace(plan, addresses=tuple(addresses))))
    assert not replay_compiled(session.graph, session.program(), bent, inputs_of(session)).is_equal


@pytest.mark.parametrize("seed", [*range(3000, 3016), *IN_PLACE_SEEDS, *SHIFTED_SEEDS, 29])
def test_random_graphs_compute_the_same_bits(seed, tmp_path):
    session = drawn(seed, tmp_path)
    plan = plan_of(session)
    for reach in (ANYWHERE, Reach(), Reach(strides=1)):
        found = replay(session.graph, session.program(), plan_of(session, reach), inputs_of(session))
        assert found.differing == () and found.elements > 0
    form = compiled(session, Level.O2)
    if stands(form.layout, rescaled_inputs(session.graph, session.program())):
        assert replay_compiled(session.graph, session.program(), form, inputs_of(session)).is_equal
    assert bool(plan.written) or seed not in IN_PLACE_SEEDS
    assert any(storage.view.rings for storage in plan.storages.values()) or seed not in SHIFTED_SEEDS


def test_a_view_of_other_elements_changes_bits(swin):
    plan = plan_of(swin)
    reads = [value for item in swin.program().instructions if item.unit not in plan.eliminated for value in item.inputs]
    value = next(value for value in reads if value in plan.storages and plan.storages[value].view.rings)
    storage = plan.storages[value]
    ring, *others = storage.view.rings
    wrong = storage.view._replace(rings=(ring._replace(shift=(ring.shift + 1) % ring.size), *others))
    bent = replace(plan, storages={**plan.storages, value: Storage(storage.root, wrong)})
    assert replay(swin.graph, swin.program(), bent, inputs_of(swin)).differing[0] == value


def test_a_missing_copy_changes_bits(tmp_path):
    session = drawn(3004, tmp_path)
    plan = plan_of(session)
    anchor = next(name for name in plan.moved if isinstance(session.graph.by_id[name].op, Concat))
    bent = replace(plan, moved={}, eliminated=plan.eliminated | {anchor})
    assert not replay(session.graph, session.program(), bent, inputs_of(session)).is_equal


def test_two_values_in_one_buffer_change_bits(swin):
    plan = plan_of(swin)
    sums = [node for node in swin.graph.nodes if isinstance(node.op, Add)]
    residual = next(node for node in sums if len(swin.graph.consumers[node.outputs[0]]) > 1)
    first = residual.outputs[0]  # read again by the next sum, after others have written
    second = next(node.outputs[0] for node in swin.graph.consumers[first] if isinstance(node.op, LayerNorm))
    bent = replace(plan, storages={**plan.storages, second: Storage(first, plan.storages[first].view)})
    assert not replay(swin.graph, swin.program(), bent, inputs_of(swin)).is_equal
