"""Assembly of the whole program from lowered units, with quantise and dequantise instructions at the seams."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from engine.errors import GraphError
from engine.graph.graph import Graph, Node
from engine.ops.base import Op
from engine.ops.logic import Cast
from engine.ops.other import Input
from engine.ops.reduce import Resize
from engine.plan.corrections import Corrected
from engine.plan.scales import BoundedScales, ValueTypes, quantised_type
from engine.plan.types import Resolution, Unit
from engine.precision import Precision
from engine.program.bounds import bounds_of, check_sums
from engine.program.lowering.context import LOWER, UnitContext
from engine.program.lowering.logic import CONVERSIONS
from engine.program.shapes import ValueShapes
from engine.program.types import (
    Dequantise,
    FloatKernel,
    Instruction,
    Output,
    Program,
    ProgramConstant,
    ProgramOp,
    Quantise,
)
from engine.qtype import INTEGER_RANGE, QType, model_type

_MOST_RESIZED_AXES = 3


def has_lowering(op: Op) -> bool:
    """Whether the integer program has a form for the operator.

    Resize has one for nearest, and for linear without antialiasing; Cast from and to truth values, and from int32.
    """
    if isinstance(op, Cast):
        return op.between_floats or (op.source, op.to) in CONVERSIONS
    if isinstance(op, Resize):
        is_linear = op.mode == "linear" and len(op.sizes) <= _MOST_RESIZED_AXES and not op.antialias
        return op.mode == "nearest" or is_linear
    return LOWER.find(op) is not None


@dataclass(frozen=True, eq=False)
class LoweredUnit:
    """The instructions of one unit, and the values and constants that only it has."""

    instructions: tuple[Instruction, ...]
    temporaries: Mapping[str, QType]
    constants: Mapping[str, ProgramConstant]


@dataclass
class UnitCache:
    """Lowered units by content: a unit is lowered again only when its types or its membership change."""

    capacity: int = 20_000
    entries: dict[tuple[object, ...], LoweredUnit] = field(default_factory=dict[tuple[object, ...], "LoweredUnit"])

    def get(self, key: tuple[object, ...]) -> LoweredUnit | None:
        return self.entries.get(key)

    def put(self, key: tuple[object, ...], lowered: LoweredUnit) -> None:
        if len(self.entries) >= self.capacity:
            self.entries.pop(next(iter(self.entries)))
        self.entries[key] = lowered

    def without(self, units: Collection[tuple[str, ...]]) -> UnitCache:
        """What is known of all but some units, each given by its nodes."""
        return UnitCache(self.capacity, {key: entry for key, entry in self.entries.items() if key[0] not in units})


def _fed(value: str) -> str:
    """The program value that a model input is fed to, before its Input node quantises it."""
    return f"{value}@input"


def lower(
    graph: Graph,
    resolution: Resolution,
    values: ValueTypes,
    cache: UnitCache | None = None,
    corrected: Corrected | None = None,
) -> Program:
    """The integer program of a resolved plan whose values have been given their types.

    ``corrected`` is what stands in for constants; ``graph`` has those that the float model is computed with already.

    Raises GraphError naming the node where weights hold NaN, an accumulator could overflow, or scales lie too far
    apart.
    """
    types, cache, corrected = dict(values.types), cache or UnitCache(), corrected or Corrected()
    assembler = _Assembler(graph, resolution, values.scales, types, cache, corrected)
    return assembler.run()


class _Assembler:
    def __init__(
        self,
        graph: Graph,
        resolution: Resolution,
        scale_of: BoundedScales,
        types: dict[str, QType],
        cache: UnitCache,
        corrected: Corrected,
    ) -> None:
        self.graph = graph
        self.resolution = resolution
        self.scale_of = scale_of
        self.power_of_two = scale_of.power_of_two
        self.types = types
        self.cache = cache
        self.corrected = corrected
        self.instructions: list[Instruction] = []
        self.constants: dict[str, ProgramConstant] = {}
        self.seams: set[str] = set()

    def run(self) -> Program:
        materialised = dict.fromkeys(self.types)
        for unit in self.resolution.units:
            self._add_unit(unit)
        outputs = {value: self._as_float(value, "output") for value in self.graph.outputs}
        return Program(
            instructions=tuple(self.instructions),
            types=self.types,
            constants=self.constants,
            inputs={name: _fed(name) for name in self.graph.inputs},
            outputs=outputs,
            value_of={value: value for value in materialised},
        )

    def _add_unit(self, unit: Unit) -> None:
        node = self.graph.by_id[unit.last]
        if isinstance(node.op, Input):
            self._add_input(node)
        elif self.resolution.effective[unit.last].precision is Precision.FLOAT:
            self._add_float(unit, node)
        else:
            self._add_integer(unit)

    def _add_input(self, node: Node) -> None:
        value = node.outputs[0]
        qtype = self.types[value]
        if qtype.is_quantised:
            op: ProgramOp = Quantise(qtype.scale, Output(qtype.dtype, *INTEGER_RANGE[qtype.dtype]))
        else:
            op = FloatKernel(node.op)
        self.types[_fed(value)] = QType("float32") if qtype.is_quantised else qtype
        self._append(op, (_fed(value),), (value,), node.id)

    def _add_float(self, unit: Unit, node: Node) -> None:
        names = tuple(self._float_operand(value, unit) for value in node.inputs)
        self._append(FloatKernel(node.op), names, node.outputs, node.id)

    def _float_operand(self, value: str, unit: Unit) -> str:
        if value in self.graph.constants:
            constant = self.graph.constants[value]
            self.constants.setdefault(value, ProgramConstant(constant.array, model_type(constant.type.dtype)))
            return value
        return self._as_float(value, unit.anchor) if value else ""

    def _as_float(self, value: str, unit: str) -> str:
        """The value in float32, through a dequantise shared by all who need it."""
        if value in self.graph.constants:
            constant = self.graph.constants[value]
            self.constants.setdefault(value, ProgramConstant(constant.array, model_type(constant.type.dtype)))
            return value
        if not self.types[value].is_quantised:
            return value
        name = f"{value}@float32"
        if name not in self.seams:
            self.seams.add(name)
            self.types[name] = QType("float32")
            self._append(Dequantise(self.types[value].scale), (value,), (name,), unit)
        return name

    def _add_integer(self, unit: Unit) -> None:
        names, seen = self._integer_operands(unit)
        outputs = [value for value in self.graph.by_id[unit.last].outputs if value]
        kinds = tuple(seen.items()), tuple(self.types[value] for value in outputs)
        constants = self.corrected.key_of(self.graph, unit), self.power_of_two
        key = (unit.nodes, tuple(names.items()), *kinds, *constants)
        lowered = self.cache.get(key)
        if lowered is None:
            lowered = self._lower_unit(unit, names, seen | {value: self.types[value] for value in outputs})
            self.cache.put(key, lowered)
        self.instructions.extend(lowered.instructions)
        self.types.update(lowered.temporaries)
        self.types.update({name: constant.type for name, constant in lowered.constants.items()})
        self.constants.update(lowered.constants)

    def _lower_unit(self, unit: Unit, names: dict[str, str], types: dict[str, QType]) -> LoweredUnit:
        context = UnitContext(self.graph, unit, types, names, self.corrected, self.power_of_two)
        lowering = LOWER.find(context.node.op)
        assert lowering is not None
        try:
            lowering(context)
        except ValueError as error:  # scales so far apart that no multiplier bridges them
            hint = "calibrate with more samples, or mark the node float"
            raise GraphError(f"cannot be requantised: {error}", node=context.node.id, hint=hint) from error
        held = {name: constant.type for name, constant in context.constants.items()}
        kinds = {**self._operand_types(names, types), **context.temporaries, **held}
        shapes = ValueShapes(context.instructions, self.graph.types, kinds, context.constants)
        check_sums(bounds_of(context.instructions, kinds, context.constants, shapes), context.node.id)
        return LoweredUnit(tuple(context.instructions), context.temporaries, context.constants)

    def _operand_types(self, names: dict[str, str], types: dict[str, QType]) -> dict[str, QType]:
        """Types by program value of what the unit reads and makes."""
        return {names.get(value, value): qtype for value, qtype in types.items()}

    def _integer_operands(self, unit: Unit) -> tuple[dict[str, str], dict[str, QType]]:
        """Program value and type of each activation input; a float one is quantised at a seam."""
        names: dict[str, str] = {}
        types: dict[str, QType] = {}
        inner = {value for node in unit.nodes for value in self.graph.by_id[node].outputs}
        dtype = "int16" if self.resolution.effective[unit.last].precision is Precision.INT16 else "int8"
        for node_id in unit.nodes:
            for value in self.graph.activations(self.graph.by_id[node_id]):
                if value not in inner:
                    names[value], types[value] = self._as_integer(value, dtype, unit)
        return names, types

    def _as_integer(self, value: str, dtype: str, unit: Unit) -> tuple[str, QType]:
        qtype = self.types[value]
        if qtype.dtype != "float32":
            return value, qtype
        qtype = quantised_type(self.graph, self.scale_of, value, dtype)
        name = f"{value}@{dtype}"
        if name not in self.seams:
            self.seams.add(name)
            self.types[name] = qtype
            op = Quantise(qtype.scale, Output(dtype, *INTEGER_RANGE[dtype]))
            self._append(op, (value,), (name,), unit.anchor)
        return name, qtype

    def _append(self, op: ProgramOp, inputs: tuple[str, ...], outputs: tuple[str, ...], unit: str) -> None:
        nodes = self.resolution.unit_of[unit].nodes if unit in self.resolution.unit_of else ()
        self.instructions.append(Instruction(op, inputs, outputs, nodes, unit))
