"""The engines of the shipped targets."""

from __future__ import annotations

from engine.simulate.ethos.model import npu_of
from engine.simulate.ethos.npu import Npu
from engine.target.target import load_target


def npu(name: str) -> Npu:
    target = load_target(name)
    assert target.ethos_u is not None
    return npu_of(target, target.ethos_u)


U55 = npu("ethos-u55-256")
U85 = npu("ethos-u85-1024")
