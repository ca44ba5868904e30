"""From a trained module to the shipped files: ONNX export, the check against torch, the accuracy record."""

import argparse
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from .fmnist import DEFAULT_DATA_DIRECTORY, MODELS_DIRECTORY, SIZE, Normalisation, Pictures, load
from .training import Schedule, input_batches, train

OPSET = 17
"""The first with LayerNormalization; GELU is still spelled out with Erf."""

TOLERANCE = 1e-3
"""Largest accepted difference between a logit of ONNX Runtime and of torch."""


@dataclass(frozen=True)
class Record:
    """What ``accuracy.json`` says of one model."""

    float_top1: float
    test_images: int
    parameters: int
    size_bytes: int
    max_abs_difference_from_torch: float
    seed: int
    epochs: int
    cycles: int
    training_seconds: int
    torch: str


def export_onnx(model: nn.Module, path: Path) -> None:
    """Write ``model`` with input "image" [batch, 1, 28, 28] and output "logits" [batch, 10].

    The TorchScript exporter is asked for because its node names follow the module tree.
    """
    model.eval()
    model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]  # as in train
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            model,
            (torch.zeros(2, 1, SIZE, SIZE),),
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=["image"],
            output_names=["logits"],
            dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        )
    onnx.checker.check_model(str(path), full_check=True)


def compare(
    model: nn.Module, path: Path, pictures: Pictures, normalise: Normalisation
) -> tuple[float, float]:
    """Top-1 accuracy of the ONNX file on ``pictures`` and its largest absolute difference from ``model``."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    model.eval()
    correct, difference = 0, 0.0
    for inputs, labels in input_batches(pictures, normalise):
        logits = np.asarray(session.run(["logits"], {"image": inputs.numpy()})[0])
        with torch.inference_mode():
            expected = model(inputs).numpy()
        correct += int((logits.argmax(1) == labels.numpy()).sum())
        difference = max(difference, float(np.abs(logits - expected).max()))
    return correct / len(pictures), difference


def _record(path: Path, name: str, record: Record) -> None:
    """Put ``record`` under ``name`` into the JSON file at ``path``, leaving other models' records alone."""
    records = json.loads(path.read_text()) if path.exists() else {}
    records[name] = asdict(record)
    path.write_text(json.dumps(records, indent=2, sort_keys=True) + "\n")


def _arguments(name: str, schedule: Schedule, argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=f"Train {name} on Fashion-MNIST and export it to ONNX.")
    parser.add_argument("--data", type=Path, default=DEFAULT_DATA_DIRECTORY, help="folder of the idx files")
    parser.add_argument(
        "--output", type=Path, default=MODELS_DIRECTORY, help="folder for the model and its record"
    )
    parser.add_argument("--epochs", type=int, default=schedule.epochs, help="of one cycle")
    parser.add_argument("--max-steps", type=int, default=None, help="shorter cycles, for a quick trial")
    parser.add_argument("--seed", type=int, default=schedule.seed)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(argv)


def main(
    name: str, build: Callable[[], nn.Module], defaults: Schedule, argv: Sequence[str] | None = None
) -> None:
    """Command line of one model: train, export, check on the whole test set, record the accuracy.

    ``argv``: the arguments without the program's name; the process's own where None.

    Raises:
        RuntimeError: the exported file does not compute what the module computes.
    """
    arguments = _arguments(name, defaults, argv)
    schedule = replace(defaults, epochs=arguments.epochs, max_steps=arguments.max_steps, seed=arguments.seed)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(schedule.seed)
    model, normalise = build(), Normalisation.from_recipe()
    seconds = train(model, load(arguments.data, "train"), normalise, schedule)

    path = arguments.output / f"{name}.onnx"
    export_onnx(model, path)
    test = load(arguments.data, "t10k")
    top1, difference = compare(model, path, test, normalise)
    if difference > TOLERANCE:
        raise RuntimeError(
            f"{path}: differs from the trained module by {difference:.2g}, allowed {TOLERANCE:.2g}"
        )
    record = Record(
        float_top1=top1,
        test_images=len(test),
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        size_bytes=path.stat().st_size,
        max_abs_difference_from_torch=difference,
        seed=schedule.seed,
        epochs=schedule.epochs,
        cycles=schedule.cycles,
        training_seconds=round(seconds),
        torch=torch.__version__,
    )
    _record(arguments.output / "accuracy.json", name, record)
    print(f"{path}: {record}")
