"""A random ONNX model under construction: every node is computed in ONNX Runtime as soon as it is added.

So shapes are known, and a node whose values would be infinite, empty or out of proportion is taken back.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

OPSET = 21
SAMPLES = 3
MOST_ELEMENTS = 6_000
"""Of one value, but in a large model."""

MOST_AXES = 5
LARGEST = 1e5

Array = NDArray[np.generic]
Feeds = Mapping[str, Array]


class Unfit(Exception):  # noqa: N818 (an answer, no error)
    """The operator cannot take this value, or what it computes is of no use: another is tried."""


@dataclass(frozen=True)
class Value:
    """A value of the model: its name, and the shape and type that it has with a batch of 1."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(frozen=True)
class RandomModel:
    """A model, the samples it is calibrated with, the seed that made it, and the rows that it is of."""

    seed: int
    proto: onnx.ModelProto
    samples: tuple[Feeds, ...]
    operators: tuple[str, ...] = ()


@dataclass
class Sketch:
    """The model so far.

    Attributes:
        rng: What decides everything; numbers that fill arrays come from ``numbers``, which it seeds.
        open_batch: Whether axis 0 is the batch, left open: then no operator may mix samples.
        most_elements: How many a value may have.
        values: Those that operators may read, oldest first.
    """

    rng: random.Random
    open_batch: bool
    most_elements: int = MOST_ELEMENTS
    numbers: np.random.Generator = field(init=False)
    values: list[Value] = field(default_factory=list[Value])
    nodes: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    tensors: dict[str, onnx.TensorProto] = field(default_factory=dict[str, onnx.TensorProto])
    inputs: list[Value] = field(default_factory=list[Value])
    samples: list[dict[str, Array]] = field(default_factory=list[dict[str, Array]])
    read: set[str] = field(default_factory=set[str])
    operators: list[str] = field(default_factory=list[str])
    _pending: list[onnx.NodeProto] = field(default_factory=list[onnx.NodeProto])
    _count: int = 0

    def __post_init__(self) -> None:
        self.numbers = np.random.default_rng(self.rng.getrandbits(32))
        self.samples = [{} for _ in range(SAMPLES)]

    # Choices

    def pick(self, fits: Callable[[Value], bool]) -> Value | None:
        """A value that fits, more likely a late one."""
        found = [value for value in self.values if fits(value)]
        if not found:
            return None
        return found[-1] if self.rng.random() < 0.5 else self.rng.choice(found)

    def axis(self, x: Value) -> int:
        """An axis that an operator may work along, perhaps counted from the end."""
        axis = self.rng.choice(self.free_axes(x))
        return axis - x.rank if self.rng.random() < 0.4 else axis

    def axes(self, x: Value) -> list[int]:
        """One or more of them, in any order."""
        free = self.free_axes(x)
        return self.rng.sample(free, self.rng.randint(1, len(free)))

    def free_axes(self, x: Value) -> list[int]:
        """The axes but for an open batch.

        Raises:
            Unfit: There is none.
        """
        free = list(range(1 if self.open_batch else 0, x.rank))
        if not free:
            raise Unfit
        return free

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    # Parts

    def input(self, shape: Sequence[int]) -> Value:
        """A model input, with samples of some range, sometimes far off zero."""
        value = Value(self._name("input"), tuple(shape))
        width = self.rng.choice((1e-4, 0.05, 1.0, 1.0, 1.0, 4.0, 30.0, 1e3))
        offset = self.rng.choice((0.0, 0.0, 0.0, 1.5, -1.0))
        for sample in self.samples:
            sample[value.name] = (width * (self.numbers.normal(size=value.shape) + offset)).astype(np.float32)
        self.inputs.append(value)
        self.values.append(value)
        return value

    def constant(self, array: NDArray[np.generic] | np.generic) -> str:
        """A tensor of the model."""
        name = self._name("constant")
        self.tensors[name] = numpy_helper.from_array(np.array(array), name)
        return name

    def integers(self, values: Sequence[int] | int) -> str:
        """A constant of whole numbers: axes, sizes, indices."""
        return self.constant(np.array(values, np.int64))

    def weight(self, *shape: int, gain: float | None = None) -> str:
        """Random weights; without a ``gain`` such that sums keep their size. Some channels are far off, or 0."""
        fan = math.prod(shape[1:]) or 1
        array = self.numbers.normal(size=shape) * (gain if gain is not None else 1.0 / math.sqrt(fan))
        if shape and self.chance(0.25):
            array[self.rng.randrange(shape[0])] *= self.rng.choice((0.0, 1e-9, 1e-3, 20.0, 1e3))
        return self.constant(array.astype(np.float32))

    def node(self, op_type: str, *inputs: Value | str, outputs: int = 1, **attributes: Any) -> list[str]:
        """A node, named after its operator; returns the names of its outputs."""
        names = [item.name if isinstance(item, Value) else item for item in inputs]
        made = [self._name("v") for _ in range(outputs)]
        self._pending.append(helper.make_node(op_type, names, made, name=f"{op_type}_{self._count}", **attributes))
        return made

    def then(self, op_type: str, *inputs: Value | str, **attributes: Any) -> str:
        """A node of one output; returns its name."""
        return self.node(op_type, *inputs, **attributes)[0]

    # Growing

    def grow(self, name: str, add: Callable[[Sketch, Value], None], x: Value) -> bool:
        """Let an operator add its nodes behind ``x``; False where it does not fit, and then nothing is changed."""
        self._pending = []
        kept = dict(self.tensors)
        try:
            add(self, x)
            self._compute()
        except Unfit:
            self.tensors, self._pending = kept, []
            return False
        self.nodes += self._pending
        self.operators.append(name)
        self.read.update(name for node in self._pending for name in node.input)
        return True

    def _compute(self) -> None:
        """Values of the pending nodes for every sample."""
        made = [name for node in self._pending for name in node.output]
        inner = {name for node in self._pending for name in node.input} & set(made)
        fed = sorted({name for node in self._pending for name in node.input if name in self.samples[0]})
        graph = helper.make_graph(
            self._pending,
            "part",
            [_info(name, self.samples[0][name]) for name in fed],
            [helper.make_empty_tensor_value_info(name) for name in made],
            list(self.tensors.values()),
        )
        fed_arrays = [{name: sample[name] for name in fed} for sample in self.samples]
        found = _computed(model_of(graph), made, fed_arrays)
        for array in (array for arrays in found for array in arrays):
            self._check(np.asarray(array))
        for sample, arrays in zip(self.samples, found, strict=True):
            sample.update((name, np.asarray(array)) for name, array in zip(made, arrays, strict=True))
        for name in made:
            array = self.samples[0][name]
            if name not in inner and array.dtype == np.float32:
                self.values.append(Value(name, array.shape, array.dtype.name))

    def _check(self, array: Array) -> None:
        if not 0 < array.size <= self.most_elements or array.ndim > MOST_AXES:
            raise Unfit
        if array.dtype == np.float32 and not np.abs(array).max() < LARGEST:  # NaN compares false
            raise Unfit

    def _name(self, prefix: str) -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    # The result

    def model(self, seed: int) -> RandomModel:
        """The finished model: what nothing reads is an output, and sometimes more."""
        ends = [value for value in self.values if value.name not in self.read and value not in self.inputs]
        more = [value for value in self.values if value.name in self.read and value not in self.inputs]
        ends += [value for value in more if self.chance(0.1)]
        used = {name for node in self.nodes for name in node.input}
        inputs = [value for value in self.inputs if value.name in used]
        graph = helper.make_graph(
            self.nodes,
            f"random_{seed}",
            [self._port(value) for value in inputs],
            [self._port(value) for value in ends],
            [tensor for name, tensor in self.tensors.items() if name in used],
        )
        samples = tuple({value.name: sample[value.name] for value in inputs} for sample in self.samples)
        return RandomModel(seed, model_of(graph), samples, tuple(self.operators))

    def _port(self, value: Value) -> onnx.ValueInfoProto:
        shape = ["batch", *value.shape[1:]] if self.open_batch and value.shape else list(value.shape)
        return helper.make_tensor_value_info(value.name, onnx.TensorProto.FLOAT, shape)


def model_of(graph: onnx.GraphProto) -> onnx.ModelProto:
    """A model of the opset that is used here."""
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)


def _computed(model: onnx.ModelProto, names: Sequence[str], feeds: Sequence[Feeds]) -> list[Sequence[object]]:
    """What ONNX Runtime computes for each sample; raises Unfit where it does not take the model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        runner = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return [runner.run(names, dict(fed)) for fed in feeds]
    except Exception as error:  # its errors have no base of their own
        raise Unfit from error


def _info(name: str, array: Array) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
