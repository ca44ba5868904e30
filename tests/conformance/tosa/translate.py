"""A TOSA graph as a program of the engine's own instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from engine.export.tosa.graph import AttributeValue, Operator, Shape
from engine.export.tosa.schema import TosaOp
from engine.program.types import Instruction, Program, ProgramConstant, ProgramOp
from engine.qtype import QType
from tests.conformance.tosa.reader import TosaFile

CONTAINER: Mapping[str, str] = {
    "bool": "bool",
    "int8": "int8",
    "int16": "int16",
    "int32": "int32",
    "int48": "int64",
    "uint8": "int16",
    "uint16": "int32",
}
"""The type in which a program holds the numbers of a TOSA type; TOSA's unsigned types share the tensors of the signed
ones, and only RESCALE has any."""


COMPUTED_FIELD = "computes what instructions hold as a field: weights, tables, indices, shifts"
"""A reason of :class:`OutsideError`."""


class OutsideError(Exception):
    """The operator asks for what no integer program can say; the text is the reason, the same for all such cases."""


@dataclass(frozen=True)
class Value:
    """A value of the program, its type one of :data:`CONTAINER`'s."""

    name: str
    dtype: str


@dataclass
class Translation:
    """The program so far.

    ``given`` are the graph's inputs. What an instruction holds as a field (weights, tables, multipliers) is taken from
    there or from the graph's constants; everything else is fed to the program. ``unsigned`` names the tensors of the
    graph whose elements are read without a sign.
    """

    file: TosaFile
    given: Mapping[str, NDArray[np.generic]]
    instructions: list[Instruction] = field(default_factory=list[Instruction])
    constants: dict[str, ProgramConstant] = field(default_factory=dict[str, ProgramConstant])
    values: dict[str, Value] = field(default_factory=dict[str, Value])
    inputs: dict[str, str] = field(default_factory=dict[str, str])
    unsigned: set[str] = field(default_factory=set[str])
    types: dict[str, QType] = field(default_factory=dict[str, QType])

    def shape(self, key: str) -> Shape:
        return self.file.tensors[key].shape

    def dtype(self, key: str) -> str:
        """TOSA's type of a tensor."""
        return self.file.tensors[key].dtype

    def value(self, key: str) -> Value:
        """A tensor that an earlier operator made, or a constant or an input, which enters the program here."""
        found = self.values.get(key)
        if found is None:
            if key in self.file.arrays:
                found = self.constant(self.file.arrays[key])
            elif key in self.file.sizes:
                found = self.constant(np.array(self.file.sizes[key], np.int64))
            else:
                dtype = self.dtype(key)
                found = self._value(key, CONTAINER[f"u{dtype}" if key in self.unsigned else dtype])
                self.inputs[key] = found.name
            self.values[key] = found
        return found

    def array(self, key: str) -> NDArray[np.generic]:
        """A constant or an input, for a field of an instruction.

        Raises:
            OutsideError: It is computed by the graph.
        """
        found = self.file.arrays.get(key, self.given.get(key))
        if found is None:
            raise OutsideError(COMPUTED_FIELD)
        return found

    def number(self, key: str) -> int:
        """A constant of one element."""
        return int(self.array(key).reshape(()))

    def constant(self, array: NDArray[np.generic]) -> Value:
        """A constant operand."""
        value = self._value(f"constant{len(self.constants)}", array.dtype.name)
        self.constants[value.name] = ProgramConstant(array, self.types[value.name])
        return value

    def add(self, op: ProgramOp, operands: Sequence[Value], dtype: str) -> Value:
        """Append an instruction whose one result has the given type."""
        result = self._value(f"value{len(self.instructions)}", dtype)
        self.instructions.append(
            Instruction(op, tuple(operand.name for operand in operands), (result.name,), ("graph",), "graph")
        )
        return result

    def _value(self, name: str, dtype: str) -> Value:
        self.types[name] = QType(dtype)
        return Value(name, dtype)


Form = Callable[[Translation, Operator], Value]

FORMS: dict[TosaOp, Form] = {}
"""TOSA operator -> the function that adds the instructions with its result."""


def form_of(*ops: TosaOp) -> Callable[[Form], Form]:
    """Decorator that registers how operators become instructions."""

    def add(form: Form) -> Form:
        FORMS.update(dict.fromkeys(ops, form))
        return form

    return add


def attribute(operator: Operator, name: str) -> int:
    """A number of the operator's attribute."""
    return _whole(operator.attribute[name])


def attribute_list(operator: Operator, name: str) -> tuple[int, ...]:
    """A list of numbers of the operator's attribute."""
    values = operator.attribute[name]
    assert not isinstance(values, int)
    return tuple(values)


def _whole(value: AttributeValue) -> int:
    assert isinstance(value, int)
    return value


def translated(file: TosaFile, given: Mapping[str, NDArray[np.generic]]) -> Translation:
    """The whole graph.

    Raises:
        OutsideError: It asks for what no integer program can say.
    """
    result = Translation(file, given)
    for operator in file.operators:
        if operator.op is TosaOp.CONST_SHAPE:
            continue
        if operator.op is not TosaOp.CONST:
            result.values[operator.outputs[0]] = FORMS[operator.op](result, operator)
    return result


def program_of(translation: Translation) -> Program:
    """The finished program, its outputs named as the graph's."""
    outputs = {key: translation.value(key).name for key in translation.file.outputs}
    return Program(
        tuple(translation.instructions), translation.types, translation.constants, translation.inputs, outputs
    )
