# pyright: reportUnknownMemberType=false
"""The module's forward pass is the program, bit for bit; its slopes lead somewhere; what it learns becomes a plan."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from engine.errors import CalibrationError, DataError, PlanError
from engine.precision import Precision
from engine.program.executor import run_program
from engine.program.lowering.mac import WEIGHT_LEVELS
from engine.program.types import Program
from engine.session import Session
from engine.train.convert import convert, differing_bits, prepare
from engine.train.learned import as_whole, by_output, of_transposed
from engine.train.module import IntegerModule
from tests.engine.graph.onnx_models import build, node

OpenMobile = Callable[[], Session]
Rng = np.random.Generator


def bits(program: Program) -> list[object]:
    """Everything that decides what a program computes."""
    instructions = [(item.op.digest, item.inputs, item.outputs) for item in program.instructions]
    constants = sorted((name, constant.digest) for name, constant in program.constants.items())
    return [instructions, constants, dict(program.types)]


def inputs_of(session: Session, count: int) -> dict[str, Tensor]:
    batches = [sample.inputs for sample in session.samples(count)]
    return {name: torch.from_numpy(np.concatenate([batch[name] for batch in batches])) for name in batches[0]}


def disturb(module: IntegerModule, amount: float = 0.05, seed: int = 0) -> None:
    """Change every parameter a little, as training would."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            size = float(parameter.abs().mean()) or 1.0
            parameter += amount * size * torch.randn(parameter.shape, generator=generator)


def check_conversion(session: Session, inputs: Mapping[str, Tensor]) -> None:
    """Disturb a module, convert it, and compare the session's program with it, before and after saving."""
    module = prepare(session)
    disturb(module)
    with torch.no_grad():
        expected = module.outputs(inputs)
    before = session.plan
    plan = convert(session, module)
    assert session.plan is before
    assert differing_bits(session, plan, module, inputs) == 0
    session.set_plan(plan)
    assert bits(session.program()) == bits(module.program())
    found = run_program(session.program(), inputs)
    assert all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("name", ["swin_fmnist", "mobile_fmnist"])
def test_untrained_it_is_the_sessions_program(models: Path, name: str) -> None:
    session = Session.open(models / f"{name}.qscope")
    module = prepare(session)
    assert bits(module.program()) == bits(session.program())
    inputs = inputs_of(session, 4)
    outputs = module(inputs["image"])
    program = run_program(module.program(4), inputs)
    assert torch.equal(outputs, program["logits"])
    rows = [session.run({"image": inputs["image"][i : i + 1].numpy()})["logits"] for i in range(4)]
    assert np.array_equal(outputs.detach().numpy(), np.concatenate(rows))


def test_every_parameter_has_a_slope(models: Path) -> None:
    session = Session.open(models / "swin_fmnist.qscope")
    module = prepare(session)
    inputs = inputs_of(session, 8)
    torch.nn.functional.cross_entropy(module(inputs["image"]), torch.arange(8)).backward()
    slopes = {name: parameter.grad for name, parameter in module.named_parameters() if parameter.numel()}
    assert [name for name, slope in slopes.items() if slope is None or not slope.any()] == []


def test_a_trained_swin_becomes_a_plan_with_its_bits(models: Path, tmp_path: Path) -> None:
    session = Session.open(models / "swin_fmnist.qscope")
    inputs = inputs_of(session, 1)
    check_conversion(session, inputs)
    again = Session.open(session.save(tmp_path / "trained.qscope"))
    assert bits(again.program()) == bits(session.program())


def test_mixed_precision_is_kept(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    nodes = [item.id for item in session.graph.nodes]
    session.mark(nodes[2], Precision.INT16)
    session.mark(nodes[len(nodes) // 2], Precision.FLOAT)
    session.mark(nodes[-1], Precision.FLOAT)
    session.mark(nodes[-4], Precision.INT16)
    types = {kind.dtype for kind in session.program().types.values()}
    assert {"int8", "int16", "float32"} <= types
    plan = session.plan
    inputs = inputs_of(session, 1)
    module = prepare(session)
    loss = module(*inputs.values()).square().sum()
    loss.backward()
    check_conversion(session, inputs)
    assert session.plan.choices == plan.choices


def test_training_twice_starts_from_what_was_learned(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    first = prepare(session)
    disturb(first)
    session.set_plan(convert(session, first))
    program = bits(session.program())
    second = prepare(session)
    assert bits(second.program()) == program
    disturb(second, seed=1)
    session.set_plan(convert(session, second))
    assert bits(session.program()) == bits(second.program()) != program


def test_a_step_against_the_slope_makes_the_loss_smaller(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    inputs = inputs_of(session, 8)
    module = prepare(session)
    labels = torch.from_numpy(session.run_float({"image": inputs["image"][:1].numpy()})["logits"].argmax(-1))
    wanted = (labels + 1) % 10
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
    losses: list[float] = []
    for _ in range(8):
        loss = torch.nn.functional.cross_entropy(module(inputs["image"][:1]), wanted)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_what_changed_meanwhile_is_said(open_mobile: OpenMobile) -> None:
    session = open_mobile()
    module = prepare(session)
    session.mark(session.graph.nodes[2].id, Precision.INT16)
    with pytest.raises(PlanError, match="changed since the module was prepared"):
        convert(session, module)


def test_a_session_without_ranges_has_no_module(models: Path) -> None:
    with pytest.raises(CalibrationError, match="not calibrated"):
        prepare(Session.open(models / "mobile_fmnist.onnx"))


def test_samples_that_do_not_fit_are_said(open_mobile: OpenMobile) -> None:
    module = prepare(open_mobile())
    with pytest.raises(DataError, match="2, 3 samples"):
        module.outputs({"image": torch.zeros(2, 1, 28, 28), "other": torch.zeros(3, 1, 28, 28)})


def session_of(tmp_path: Path, model: onnx.ModelProto, feeds: Mapping[str, np.ndarray[Any, Any]]) -> Session:
    """A calibrated session of a small model; feeds are [N, ...]."""
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    session = Session.open(path, target="generic-int8")
    arrays: dict[str, Any] = dict(feeds)
    np.savez(tmp_path / "data.npz", **arrays)
    session.calibrate(tmp_path / "data.npz")
    return session


def weights(rng: Rng, *shape: int) -> np.ndarray[Any, Any]:
    return rng.normal(size=shape).astype(np.float32)


def test_convolutions_of_every_kind_and_a_fixed_batch(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = [
        node("Conv", ["x", "w1"], ["a"], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "w2", "b2"], ["c"], group=2),
        node("ConvTranspose", ["c", "w3", "b3"], ["d"], group=2, strides=[2, 2], output_padding=[1, 1]),
        node("Tanh", ["d"], ["e"]),
        node("ReduceMean", ["e"], ["f"], axes=[2, 3], keepdims=0),
        node("MatMul", ["f", "m"], ["y"]),
    ]
    constants = {
        "w1": weights(rng, 4, 3, 3, 3),
        "w2": weights(rng, 6, 2, 1, 1),
        "b2": weights(rng, 6),
        "w3": weights(rng, 6, 4, 2, 2),
        "b3": weights(rng, 8),
        "m": weights(rng, 8, 5),
    }
    session = session_of(tmp_path, build(nodes, {"x": [1, 3, 6, 6]}, ["y"], constants), {"x": weights(rng, 8, 3, 6, 6)})
    inputs = inputs_of(session, 1)
    module = prepare(session)
    module(inputs["x"]).sum().backward()
    learned = {
        name
        for name, parameter in zip(module.weights.names, module.weights.values, strict=True)
        if parameter.grad is not None and parameter.grad.any()
    }
    assert learned == set(module.weights.names) and len(learned) == 4
    check_conversion(session, inputs)
    many = inputs_of(session, 3)["x"]
    whole = module(many)
    assert torch.equal(whole, torch.cat([module(many[i : i + 1]) for i in range(3)]))


def test_a_constant_operand_has_one_scale_and_integers_pass(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("MatMul", ["k", "e"], ["m"]),
        node("LayerNormalization", ["m", "gain", "shift"], ["n"], axis=-1),
        node("MatMul", ["n", "w"], ["p"]),
        node("Softmax", ["p"], ["y"], axis=-1),
    ]
    constants = {
        "table": weights(rng, 20, 6),
        "k": weights(rng, 4, 5),
        "gain": weights(rng, 6),
        "shift": weights(rng, 6),
        "w": weights(rng, 6, 3),
    }
    ids = rng.integers(0, 20, (8, 5))
    session = session_of(tmp_path, build(nodes, {"ids": ids[:1]}, ["y"], constants), {"ids": ids})
    module = prepare(session)
    assert {"k", "gain", "shift"} <= set(module.weights.names)
    check_conversion(session, inputs_of(session, 1))


@pytest.mark.parametrize(
    ("index", "shape", "channels"),
    [(by_output, (3, 2, 1), [0, 1, 2]), (of_transposed(2), (4, 3, 1), [0, 1, 2, 3, 4, 5]), (as_whole, (2, 2), [0])],
)
def test_every_element_has_the_scale_of_its_output_channel(
    index: Callable[[Sequence[int]], np.ndarray[Any, Any]], shape: tuple[int, ...], channels: list[int]
) -> None:
    found = np.broadcast_to(index(shape), shape)
    assert sorted(set(found.reshape(-1).tolist())) == channels


def test_channels_of_a_transposed_convolution_are_lowerings() -> None:
    from engine.program.lowering.mac import _by_output  # pyright: ignore[reportPrivateUsage]

    shape, groups = (6, 4, 2, 2), 3
    weight = np.broadcast_to(of_transposed(groups)(shape), shape).astype(np.float32)
    by_channel = _by_output(weight, groups)
    assert all((by_channel[channel] == channel).all() for channel in range(len(by_channel)))
    assert len(by_channel) == 12 and WEIGHT_LEVELS == 127
