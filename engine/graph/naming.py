"""Stable, readable node ids and the module scopes they show."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import cast

_TORCH_SCOPES = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter writes the module path of a node: a list of dotted names, outermost first, the last one
that of the operation itself."""


class NodeNames:
    """Hands out node ids, each once, the same ones for the same sequence of requests."""

    def __init__(self) -> None:
        self._used: set[str] = set()
        self._next: Counter[str] = Counter()

    def claim(self, name: str) -> str:
        """``name`` itself if it is free, else ``name_k`` with the lowest free k from 1."""
        candidate = name
        while candidate in self._used:
            self._next[name] += 1
            candidate = f"{name}_{self._next[name]}"
        self._used.add(candidate)
        return candidate

    def scoped(self, namespace: tuple[str, ...], op_name: str) -> str:
        """An id of the form ``/outer/inner/OpName``."""
        return self.claim("/" + "/".join((*namespace, op_name)))


def torch_scopes(metadata: Mapping[str, str]) -> tuple[str, ...] | None:
    """The module scopes that torch's exporter recorded, each relative to the one around it; None where it did not."""
    recorded = metadata.get(_TORCH_SCOPES)
    if recorded is None:
        return None
    try:
        names = ast.literal_eval(recorded)
    except (ValueError, SyntaxError):
        return None
    if not isinstance(names, list):
        return None
    return _relative(str(name) for name in cast("list[object]", names)[:-1] if name)


def _relative(names: Iterable[str]) -> tuple[str, ...]:
    """Dotted names with the enclosing one cut off: a, a.b.0, a.b.0.c -> a, b.0, c."""
    scopes: list[str] = []
    outer = ""
    for name in names:
        inside = outer and name.startswith(f"{outer}.")
        scopes.append((name[len(outer) + 1 :] if inside else name).replace("/", "."))
        outer = name
    return tuple(scopes)


def path_scopes(name: str) -> tuple[str, ...]:
    """The scopes in a node name that is a path: ``/layers.0/attn/MatMul`` -> (layers.0, attn)."""
    return tuple(part for part in name.split("/") if part)[:-1]


def common_scopes(namespaces: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The longest scope path that all namespaces begin with."""
    paths = list(namespaces)
    shortest = min(paths, key=len, default=())
    for depth, scope in enumerate(shortest):
        if any(path[depth] != scope for path in paths):
            return shortest[:depth]
    return shortest
