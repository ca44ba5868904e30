"""What a ``.pt2`` archive may contain before torch is allowed to open it.

``torch.export.load`` trusts its file: it unpickles objects that are marked so, falls back to full unpickling where
the restricted form fails, evaluates expression strings, resolves any function name under ``torch``, imports modules
named in container specifications, and loads compiled libraries. An archive that needs any of that is refused here.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias, cast

import torch

from engine.errors import ModelFileError

_HINT = "save it again with torch.export.save in a current torch, or export the model to ONNX"

_FORBIDDEN_FOLDERS = ("data/aotinductor/",)
_PLAIN_PAYLOAD = re.compile(r"(weight|tensor)_\d+")
_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed|torchvision)\.\w+(\.\w+)?"
    r"|_operator\.(add|sub|mul|floordiv|truediv|mod|pow|neg|abs|eq|ne|lt|le|gt|ge|and_|or_|not_|getitem)"
    r"|math\.(ceil|floor|trunc|sqrt)|torch\.sym_\w+"
)
_SYMBOL = re.compile(r"[suz]\d+")
_FUNCTIONS = frozenset(
    {"Symbol", "Integer", "Float", "Add", "Mul", "Pow", "Max", "Min", "Mod", "PythonMod", "ToFloat"}
    | {"FloorDiv", "CleanDiv", "CeilDiv", "IntTrueDiv"}
)
_CONTAINERS = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
_ARITHMETIC_NODES = (ast.Expression, ast.BinOp, ast.UnaryOp, ast.operator, ast.unaryop, ast.Constant, ast.Load)
_GUARD_NODES = (*_ARITHMETIC_NODES, ast.Compare, ast.BoolOp, ast.cmpop, ast.boolop, ast.Subscript, ast.Name)

Json: TypeAlias = Any


def check_exported(path: Path, content: bytes) -> None:
    """Refuse an archive whose opening could run code.

    Raises:
        ModelFileError: The archive is damaged or holds something other than plain tensors and standard operators.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                inner = name.split("/", 1)[-1]
                if inner.startswith(_FORBIDDEN_FOLDERS):
                    raise _refused(path, f"holds compiled code ({inner})")
                for pattern, check in _CHECKS:
                    if re.fullmatch(pattern, inner):
                        check(path, inner, archive.read(name))
    except (zipfile.BadZipFile, ValueError, KeyError, RecursionError, SyntaxError) as error:
        raise ModelFileError(f"is a damaged .pt2 archive: {error}", path=path, hint=_HINT) from error


def _refused(path: Path, what: str) -> ModelFileError:
    return ModelFileError(f"{what}; opening it could run code, so it is refused", path=path, hint=_HINT)


def _check_payloads(path: Path, name: str, data: bytes) -> None:
    """Weights and constants must be plain bytes."""
    for entry in cast("dict[str, dict[str, Json]]", json.loads(data)["config"]).values():
        if entry.get("use_pickle") or not _PLAIN_PAYLOAD.fullmatch(str(entry["path_name"])):
            raise _refused(path, f"stores {entry['path_name']} as a Python pickle")


def _check_legacy(path: Path, name: str, data: bytes) -> None:
    raise _refused(path, f"stores {name} in the pickled form of older versions")


def _check_samples(path: Path, name: str, data: bytes) -> None:
    """Sample inputs are pickled always; torch's restricted reader must be able to read them."""
    if not data:
        return
    try:
        torch.load(io.BytesIO(data), weights_only=True)
    except Exception as error:
        raise _refused(path, f"has sample inputs that are not plain tensors ({name})") from error


def _check_program(path: Path, name: str, data: bytes) -> None:
    """Operators, expressions and containers of the program must be standard ones."""
    program = json.loads(data)
    for guard in cast("list[Json]", program.get("guards_code") or []):
        if not _is_harmless_guard(str(guard)):
            raise _refused(path, f"has guard code '{guard}'")
    for key, text in _strings(program):
        allowed = _ALLOWED.get(key)
        if allowed is not None and not allowed(text):
            raise _refused(path, f"has {key} '{text}'")


def _strings(program: Json) -> Iterator[tuple[str, str]]:
    """Every (key, string) pair at any depth."""
    pending: list[Json] = [program]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            for key, value in cast("dict[str, Json]", item).items():
                if isinstance(value, str):
                    yield key, value
                else:
                    pending.append(value)
        elif isinstance(item, list):
            pending.extend(cast("list[Json]", item))


def _is_standard_target(text: str) -> bool:
    return _TARGET.fullmatch(text) is not None


def _is_arithmetic(text: str) -> bool:
    """Sums and products of symbols and numbers, written out or as calls of the functions known here."""
    return all(_is_arithmetic_node(node) for node in ast.walk(ast.parse(text, mode="eval")))


def _is_arithmetic_node(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or _SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name)
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return _SYMBOL.fullmatch(node.value) is not None
    return isinstance(node, (*_ARITHMETIC_NODES, ast.keyword))


def _is_plain_container(text: str) -> bool:
    return not text or all(_plain_specs(json.loads(text)))


def _plain_specs(spec: Json) -> Iterator[bool]:
    if isinstance(spec, list):
        for item in cast("list[Json]", spec):
            yield from _plain_specs(item)
    elif isinstance(spec, dict):
        entry = cast("dict[str, Json]", spec)
        yield entry.get("type") in _CONTAINERS
        yield from _plain_specs(entry.get("children_spec"))


def _is_harmless_guard(text: str) -> bool:
    """Comparisons of sizes only: no calls but ``.size()``, no attributes else."""
    tree = ast.parse(text.replace(".size()", ""), mode="eval")
    return all(isinstance(node, _GUARD_NODES) for node in ast.walk(tree))


_ALLOWED: dict[str, Callable[[str], bool]] = {
    "target": _is_standard_target,
    "expr_str": _is_arithmetic,
    "in_spec": _is_plain_container,
    "out_spec": _is_plain_container,
}
"""What strings may say, by the key they stand under."""

_CHECKS: tuple[tuple[str, Callable[[Path, str, bytes], None]], ...] = (
    (r"data/(weights|constants)/.*_config\.json", _check_payloads),
    (r"data/(weights|constants)/.*\.pt", _check_legacy),
    (r"data/sample_inputs/.*", _check_samples),
    (r"models/.*", _check_program),
)
"""Checks by the path inside the archive."""
