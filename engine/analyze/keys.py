"""Content keys of program values: equal keys mean equal bits (law 2)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from engine.program.kernels.prepared import prepared
from engine.program.types import Instruction, Program


def combine(*parts: str | bytes) -> bytes:
    """One key from parts; lengths are framed, so no two different sequences collide by concatenation."""
    hasher = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        hasher.update(len(data).to_bytes(4, "little"))
        hasher.update(data)
    return hasher.digest()


def value_keys(program: Program, sample: str) -> Mapping[str, bytes]:
    """The key of every program value for a sample with content hash ``sample``."""
    end = sample_key(sample)
    return {name: key + end for name, key in recipes(program).items()}


def sample_key(sample: str) -> bytes:
    """What the key of everything that is computed of a sample ends with."""
    return combine("sample", sample)


@prepared
def recipes(program: Program) -> Mapping[str, bytes]:
    """How every value is computed, whatever the sample."""
    keys: dict[str, bytes] = {"": b""}
    for name, value in program.inputs.items():
        keys[value] = combine("input", name)
    for name, constant in program.constants.items():
        keys[name] = combine("constant", constant.digest)
    for instruction in program.instructions:
        base = instruction_key(instruction, keys)
        for index, output in enumerate(instruction.outputs):
            if output:
                keys[output] = combine(base, str(index))
    return keys


def instruction_key(instruction: Instruction, keys: Mapping[str, bytes]) -> bytes:
    """Key of one application: its operator's content and its inputs' keys."""
    return combine(instruction.op.digest, *(keys[name] for name in instruction.inputs))
