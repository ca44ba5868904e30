"""The training loop that the demo models share: AdamW, one-cycle learning rate, label smoothing."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from .fmnist import Normalisation, Pictures, augment

_EVALUATION_BATCH = 500
_REPORT_EVERY_STEPS = 200


@dataclass(frozen=True)
class Schedule:
    """What a training run is made of; the same values and seed give the same weights on the same machine."""

    epochs: int
    """Of one cycle."""
    peak_learning_rate: float
    weight_decay: float
    seed: int
    cycles: int = 1
    """How often the learning rate rises and falls; each cycle has a fresh optimiser and the next seed."""
    batch_size: int = 128
    label_smoothing: float = 0.05
    warmup_fraction: float = 0.2
    bfloat16: bool = False
    """Multiply matrices in bfloat16 while training; the weights stay float32."""
    max_steps: int | None = None
    """Shorter cycles, for a quick trial; the learning rate still rises and falls in each."""


def _parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay matrices and kernels only: norms, biases and position biases are left alone."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        is_weight = parameter.ndim >= 2 and "relative_position" not in name
        (decayed if is_weight else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


def _batches(images: Tensor, labels: Tensor, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled, augmented raw batches without end; a last, smaller one of an epoch is dropped."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(labels), generator=generator)
        for indices in order[: len(labels) // size * size].split(size):
            yield augment(images[indices], generator), labels[indices]


def _steps_per_cycle(schedule: Schedule, picture_count: int) -> int:
    steps = schedule.epochs * (picture_count // schedule.batch_size)
    return steps if schedule.max_steps is None else min(steps, schedule.max_steps)


def _train_cycle(
    model: nn.Module, batches: Iterator[tuple[Tensor, Tensor]], schedule: Schedule, total: int
) -> None:
    """Take ``total`` steps of a fresh optimiser while the learning rate rises and falls once."""
    optimiser = torch.optim.AdamW(
        _parameter_groups(model, schedule.weight_decay), lr=schedule.peak_learning_rate
    )
    rate = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, schedule.peak_learning_rate, total_steps=total, pct_start=schedule.warmup_fraction
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=schedule.label_smoothing)
    for step, (inputs, targets) in enumerate(islice(batches, total), start=1):
        with torch.autocast("cpu", torch.bfloat16, enabled=schedule.bfloat16):
            logits = model(inputs)
        loss = criterion(logits.float(), targets)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        rate.step()
        if step % _REPORT_EVERY_STEPS == 0 or step == total:
            print(f"step {step}/{total}  loss {loss.item():.3f}", flush=True)


def train(model: nn.Module, pictures: Pictures, normalise: Normalisation, schedule: Schedule) -> float:
    """Train ``model`` ([N, 1, 28, 28] to logits [N, 10]) in place and return the seconds it took."""
    images, labels = torch.from_numpy(pictures.images), torch.from_numpy(pictures.labels)
    model.train()
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]  # missing in torch's stub
    started = time.perf_counter()
    for cycle in range(schedule.cycles):
        raw = _batches(images, labels, schedule.batch_size, schedule.seed + cycle)
        inputs = ((normalise(batch), targets) for batch, targets in raw)
        _train_cycle(model, inputs, schedule, _steps_per_cycle(schedule, len(pictures)))
    return time.perf_counter() - started


def input_batches(pictures: Pictures, normalise: Normalisation) -> Iterable[tuple[Tensor, Tensor]]:
    """The pictures in their own order as normalised inputs with labels."""
    for start in range(0, len(pictures), _EVALUATION_BATCH):
        part = slice(start, start + _EVALUATION_BATCH)
        yield normalise(torch.from_numpy(pictures.images[part])), torch.from_numpy(pictures.labels[part])
