"""The operator base class and the registry through which behaviours attach to operator classes.

An operator is one frozen dataclass whose fields are its attributes, already decoded: no operator reads a constant
input at run time to learn its own shape. Everything the product does with an operator (run it in float, lower it to
integers, cost it, constrain it on a target) is a behaviour registered against the class, in the folder of that stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Op:
    """Base of all operators. Subclasses are frozen dataclasses with hashable fields only."""

    @property
    def type_name(self) -> str:
        """The operator's name as users read it (the ONNX name where there is one)."""
        return type(self).__name__

    def attributes(self) -> dict[str, object]:
        """Attribute names and values, in declaration order, for display and for content keys."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Behaviour(Generic[F]):
    """A table from operator class to one implementation of a behaviour; subclasses inherit their base's entry."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._table: dict[type[Op], F] = {}

    def register(self, *classes: type[Op]) -> Callable[[F], F]:
        """Decorator that registers an implementation for ``classes``. A second registration is a programming error."""

        def add(implementation: F) -> F:
            for cls in classes:
                if cls in self._table:
                    raise ValueError(f"{self.name}: {cls.__name__} is registered twice")
                self._table[cls] = implementation
            return implementation

        return add

    def find(self, op: Op | type[Op]) -> F | None:
        """The implementation for an operator (nearest class in its method resolution order), or None."""
        cls = op if isinstance(op, type) else type(op)
        for base in cls.__mro__:
            found = self._table.get(base)
            if found is not None:
                return found
        return None

    def __iter__(self) -> Iterator[type[Op]]:
        return iter(self._table)
