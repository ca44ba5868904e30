"""The same modules by every exporter of torch: the same operators each, whoever wrote the file.

    python -m tests.conformance.exporters            # all of them
    python -m tests.conformance.exporters script     # those whose name contains it

``script`` is the older exporter, which traces, ``dynamo`` the present one, each with its opset; ``export`` is
torch.export's own file, ``torchscript`` a traced module. Opset 11 writes normalisation, softmax of inner axes and
activations in their oldest spellings, the newest ones as operators of their own. Each file must give the operators
listed here for each module, and torch's outputs.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from engine.graph.float_run import run_float
from engine.graph.graph import Graph
from engine.graph.load import load_model

CHANNELS = 16
TOLERANCE = 1e-4

Exporter = Callable[[nn.Module, Tensor, Path], None]


class Written(nn.Module):
    """A function as a module, with a weight and a bias for those that want them."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.function = function
        self.weight = nn.Parameter(torch.linspace(0.5, 1.5, CHANNELS))
        self.bias = nn.Parameter(torch.linspace(-1.0, 1.0, CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight, self.bias)


class Attention(nn.Module):
    """Two heads over the 64 places of a picture; ``attend`` takes queries, keys and values."""

    def __init__(self, attend: Callable[[Tensor, Tensor, Tensor], Tensor], *, unbound: bool) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.attend, self.unbound = attend, unbound

    def forward(self, x: Tensor) -> Tensor:
        heads = self.qkv(x.reshape(1, 64, CHANNELS)).reshape(1, 64, 3, 2, 8).permute(2, 0, 3, 1, 4)
        q, k, v = heads.unbind(0) if self.unbound else (heads[0], heads[1], heads[2])
        return self.out(self.attend(q, k, v).transpose(1, 2).reshape(1, 64, CHANNELS))


def norm_by_hand(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, variance = x.mean(-1, keepdim=True), x.var(-1, keepdim=True, unbiased=False)
    return weight * (x - mean) / torch.sqrt(variance + 1e-5) + bias


def rms_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    x = x.to(torch.float32)
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


def gelu_new(x: Tensor, *_: Tensor) -> Tensor:
    return 0.5 * x * (1.0 + torch.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * torch.pow(x, 3.0))))


def softmax_by_hand(x: Tensor, *_: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(-1, keepdim=True))
    return e / e.sum(-1, keepdim=True)


def partition(x: Tensor, *_: Tensor) -> Tensor:
    batch, height, width, channels = x.shape
    x = x.view(batch, height // 4, 4, width // 4, 4, channels)
    return x.permute(0, 1, 3, 2, 4, 5).contiguous().view(-1, 4, 4, channels)


def reverse(windows: Tensor) -> Tensor:
    x = windows.view(1, 2, 2, 4, 4, -1).permute(0, 1, 3, 2, 4, 5)
    return x.contiguous().view(1, 8, 8, -1)


def merging(x: Tensor, axis: int) -> Tensor:
    """Swin's order, and Focus's."""
    rows, columns = (1, 2) if axis == 3 else (2, 3)
    parts = [x[(slice(None),) * rows + (slice(row, None, 2),)] for row in (0, 1)]
    every = [part[(slice(None),) * columns + (slice(column, None, 2),)] for column in (0, 1) for part in parts]
    return torch.cat(every, axis)


def merging_by_view(x: Tensor, *_: Tensor) -> Tensor:
    return x.reshape(1, 4, 2, 4, 2, CHANNELS).permute(0, 1, 3, 4, 2, 5).flatten(3)


def shuffled(x: Tensor) -> Tensor:
    return x.view(1, 4, 4, 8, 8).transpose(1, 2).reshape(1, CHANNELS, 8, 8)


def chunks_swapped(x: Tensor, *_: Tensor) -> Tensor:
    first, second = x.chunk(2, 1)
    return torch.cat((second, first), 1)


def channels_first(function: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    return lambda x, *_: function(x.permute(0, 3, 1, 2))


SCALE = 8**-0.5
MOVED = Counter(Reshape=2, Transpose=1)
TURNED = Counter(Transpose=1)
ATTENTION = Counter(MatMul=4, Mul=1, Softmax=1, Split=1, Squeeze=3, Transpose=3, Reshape=3)
"""Of the four products two are layers; one of the reshapes that a picture's places need, the heads need too."""

MODULES: dict[str, tuple[nn.Module, Counter[str]]] = {
    "layer norm": (nn.LayerNorm(CHANNELS), Counter(LayerNormalization=1)),
    "layer norm by hand": (Written(norm_by_hand), Counter(LayerNormalization=1)),
    "RMS norm": (Written(rms_norm), Counter(RMSNormalization=1)),
    "group norm": (nn.Sequential(Written(channels_first(lambda x: x)), nn.GroupNorm(4, CHANNELS)),
                   TURNED + Counter(GroupNormalization=1)),
    "GELU": (nn.GELU(), Counter(Gelu=1)),
    "GELU by tanh": (nn.GELU("tanh"), Counter(Gelu=1)),
    "GELU by hand": (Written(lambda x, *_: x * 0.5 * (1.0 + torch.erf(x / 2**0.5))), Counter(Gelu=1)),
    "transformers' NewGELU": (Written(gelu_new), Counter(Gelu=1)),
    "quick GELU": (Written(lambda x, *_: x * torch.sigmoid(1.702 * x)), Counter(Silu=1)),
    "SiLU": (nn.SiLU(), Counter(Silu=1)),
    "Mish": (nn.Mish(), Counter(Mish=1)),
    "HardSwish": (nn.Hardswish(), Counter(HardSwish=1)),
    "HardSwish by hand": (Written(lambda x, *_: x * functional.relu6(x + 3) / 6), Counter(HardSwish=1)),
    "HardSigmoid": (nn.Hardsigmoid(), Counter(HardSigmoid=1)),
    "softmax": (nn.Softmax(-1), Counter(Softmax=1)),
    "softmax of rows": (nn.Softmax(1), Counter(Softmax=1)),
    "softmax by hand": (Written(softmax_by_hand), Counter(Softmax=1)),
    "attention, queries scaled": (
        Attention(lambda q, k, v: ((q * SCALE) @ k.transpose(-2, -1)).softmax(-1) @ v, unbound=True), ATTENTION),
    "attention, logits scaled": (
        Attention(lambda q, k, v: ((q @ k.transpose(-2, -1)) * SCALE).softmax(-1) @ v, unbound=False), ATTENTION),
    "window partition": (Written(partition), MOVED),
    "windows and back": (Written(lambda x, *_: reverse(partition(x)) + 1), Counter(Add=1)),
    "roll": (Written(lambda x, *_: torch.roll(x, (-3, -3), (1, 2))), Counter(Roll=1)),
    "patch merging, slices": (Written(lambda x, *_: merging(x, 3)), MOVED),
    "patch merging, view": (Written(merging_by_view), MOVED),
    "Focus": (Written(channels_first(lambda x: merging(x, 1))), TURNED + MOVED),
    "pixel shuffle": (Written(channels_first(nn.PixelShuffle(2))), TURNED + Counter(DepthToSpace=1)),
    "pixel unshuffle": (Written(channels_first(nn.PixelUnshuffle(2))), TURNED + Counter(SpaceToDepth=1)),
    "channel shuffle": (Written(channels_first(shuffled)), TURNED + MOVED),
    "chunks swapped": (Written(chunks_swapped), Counter(Roll=1)),
}  # fmt: skip


class Everything(nn.Module):
    """All modules, each on the input shifted by an amount of its own, so that none is shared."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList(module for module, _ in MODULES.values())

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(part(x + 0.1 * index) for index, part in enumerate(self.parts, 1))


def _scripted(opset: int) -> Exporter:
    def write(module: nn.Module, x: Tensor, path: Path) -> None:
        torch.onnx.export(module, (x,), path, opset_version=opset, dynamo=False)

    return write


def _present(opset: int) -> Exporter:
    def write(module: nn.Module, x: Tensor, path: Path) -> None:
        torch.onnx.export(module, (x,), path, opset_version=opset, dynamo=True, external_data=False, verbose=False)

    return write


def _exported(module: nn.Module, x: Tensor, path: Path) -> None:
    torch.export.save(torch.export.export(module, (x,)), path)


def _traced(module: nn.Module, x: Tensor, path: Path) -> None:
    cast("torch.jit.ScriptModule", torch.jit.trace(module, (x,))).save(path)


EXPORTERS: dict[str, Exporter] = {
    **{f"script{opset}": _scripted(opset) for opset in range(11, 21)},
    **{f"dynamo{opset}": _present(opset) for opset in range(18, 24)},
    "export": _exported,
    "torchscript": _traced,
}


def check(exporter: str, folder: Path) -> list[str]:
    """Export everything and load it again; what is not as it should be, a line each."""
    torch.manual_seed(0)
    module, x = Everything().eval(), torch.randn(1, 8, 8, CHANNELS)
    path = folder / exporter
    with _quiet():
        EXPORTERS[exporter](module, x, path)
    graph = load_model(path)
    ours, theirs = run_float(graph, {graph.inputs[0]: x.numpy()}), module(x)
    wrong: list[str] = []
    for (name, (_, wanted)), value, result in zip(MODULES.items(), graph.outputs, theirs, strict=True):
        difference = float(np.abs(ours[value].numpy() - result.detach().numpy()).max())
        if difference > TOLERANCE:
            wrong.append(f"{name}: differs from torch by {difference:.1e}")
        kinds = _upstream(graph, value)
        if kinds != wanted:
            wrong.append(f"{name}: {dict(kinds)} instead of {dict(wanted)}")
    return wrong


@contextmanager
def _quiet() -> Generator[None]:
    """Without what exporters say about their own future."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _upstream(graph: Graph, value: str) -> Counter[str]:
    """How often each operator is among what ``value`` is computed from; the shift of the input left out."""
    found: dict[str, str] = {}
    pending = [value]
    while pending:
        node = graph.producer.get(pending.pop())
        if node is not None and node.id not in found and node.inputs:
            found[node.id] = node.op.type_name
            pending += node.inputs
    kinds = Counter(found.values())
    kinds["Add"] -= 1
    return +kinds


def main() -> int:
    """Print a row an exporter; the exit status is how many did not get through."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("name", nargs="?", default="", help="part of an exporter's name")
    wanted: str = parser.parse_args().name
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for exporter in (name for name in EXPORTERS if wanted in name):
            wrong = check(exporter, Path(folder))
            failed += bool(wrong)
            print(f"{exporter:12} {len(MODULES) - len(wrong)} of {len(MODULES)} modules as they should be", flush=True)
            for line in wrong:
                print(f"{'':12} {line}", flush=True)
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
