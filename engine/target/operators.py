"""The names by which a target description speaks of operators: families first, then single classes."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from engine.ops import elementwise, layout, linear, logic, other, reduce
from engine.ops.base import Op

FAMILIES: dict[str, tuple[type[Op], ...]] = {
    "mac": (linear.Mac,),
    "unary": (elementwise.Unary,),
    "binary": (elementwise.Binary,),
    "select": (elementwise.Where,),
    "comparison": (logic.Comparison, logic.NumberTest),
    "logic": (logic.Logic,),
    "cast": (logic.Cast,),
    "layout": (layout.Layout, layout.LookUp),
    "reduction": (reduce.Reduction, reduce.ArgExtreme),
    "pool": (reduce.Pool,),
    "softmax": (reduce.Softmax, reduce.LogSoftmax),
    "norm": (reduce.LayerNorm, reduce.RMSNorm, reduce.InstanceNorm, reduce.GroupNorm, reduce.BatchNorm),
    "resize": (reduce.Resize,),
    "input": (other.Input,),
}
"""Family name to the classes it stands for (and their subclasses)."""


def subclasses(base: type[Op]) -> Iterator[type[Op]]:
    """All operator classes below ``base``, each once, in order of definition."""
    for cls in base.__subclasses__():
        yield cls
        yield from subclasses(cls)


@lru_cache(maxsize=1)
def operator_names() -> frozenset[str]:
    """Every key that ``[operators]`` may have."""
    return frozenset(FAMILIES) | {cls.__name__ for cls in subclasses(Op)}


@lru_cache(maxsize=512)
def names_of(cls: type[Op]) -> tuple[str, ...]:
    """The names that speak of a class, the most specific first: its own, its family's, its base's, ..."""
    names: list[str] = []
    for base in cls.__mro__:
        names.append(base.__name__)
        names.extend(family for family, members in FAMILIES.items() if base in members)
    return tuple(names)


def takes_tables(name: str) -> bool:
    """Whether ``lut`` means something for a key of ``[operators]``: only functions of one tensor are tables."""
    named = FAMILIES.get(name) or tuple(cls for cls in subclasses(Op) if cls.__name__ == name)
    return all(issubclass(cls, elementwise.Unary) for cls in named)
