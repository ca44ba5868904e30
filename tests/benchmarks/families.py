"""Model families of timm and transformers, exported in every way torch has, through the whole engine.

    python -m tests.benchmarks.families [NAME ...] [--exporter KIND ...] [--reasons]
    python -m tests.benchmarks.families --list

Small members of each family with random weights, written once and kept beside the other benchmark models (5 GB).
Kinds of file: ``dynamo`` is torch's present ONNX exporter (opset 18), ``script`` the older one, which traces (opset
17); these two by default. ``pt2`` is torch.export's own file, ``torchscript`` a traced module. Where torch cannot write
one, the row says so. A row a file:

nodes, cpu   nodes after import; those that compute float values on the CPU on ``journey5``
float        largest difference from ONNX Runtime (of ``pt2`` and ``torchscript`` from torch), relative to the output's
             largest value
SQNR dB      outputs of the integer program against the float model, one of the 4 random samples of the calibration
at fault     what failed, or the operators on the CPU with how often; ``--reasons`` adds why

The exit status is the number of files that did not get through.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import tempfile
import types
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from engine.errors import QuantscopeError
from engine.session import Session
from tests.benchmarks.models import TRANSFORMERS, cache_folder, importable, installed, perturb_constant_parameters

if TYPE_CHECKING:
    import torch

_TIMM = ("timm==1.0.31", "torchvision==0.28.0")
SAMPLES = 4
TOLERANCE = 1e-3

Inputs = Mapping[str, "torch.Tensor"]
Arrays = Mapping[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Family:
    """One small model: ``build`` makes it with example inputs by name, once timm and transformers can be imported."""

    name: str
    build: Callable[[], tuple[torch.nn.Module, Inputs]]


FAMILIES: dict[str, Family] = {}


def _picture(size: int) -> Inputs:
    import torch

    return {"image": torch.rand(1, 3, size, size) * 2 - 1}


def _timm(model: str, size: int = 64, **options: object) -> None:
    """Register a timm model for pictures of ``size``; without ``img_size`` it takes any."""

    def build() -> tuple[torch.nn.Module, Inputs]:
        timm = importlib.import_module("timm")
        return timm.create_model(model, pretrained=False, num_classes=16, **options), _picture(size)

    FAMILIES[model] = Family(model, build)


def _transformer(
    name: str,
    model: str,
    config: str,
    inputs: Callable[[], Inputs],
    part: Callable[[Any], Any] = lambda module: module,
    **options: object,
) -> None:
    """Register a class of transformers with a small configuration; ``part`` picks the submodule to export."""

    def build() -> tuple[torch.nn.Module, Inputs]:
        transformers = importlib.import_module("transformers")
        transformers.logging.set_verbosity_error()
        module = getattr(transformers, model)(getattr(transformers, config)(**options))
        examples = inputs()
        return _picked(part(module), tuple(examples)), examples

    FAMILIES[name] = Family(name, build)


def _picked(module: torch.nn.Module, names: tuple[str, ...]) -> torch.nn.Module:
    """The module with positional inputs and its first output alone: exporters keep neither dataclasses nor caches."""
    import torch

    class Picked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, *values: torch.Tensor) -> Any:
            return self.model(**dict(zip(names, values, strict=True)))[0]

    config: Any = getattr(module, "config", None)
    if hasattr(config, "use_cache"):
        config.use_cache = False
    return Picked()


def _tokens(length: int = 16, vocabulary: int = 99) -> Callable[[], Inputs]:
    def make() -> Inputs:
        import torch

        ids = torch.randint(1, vocabulary, (1, length))
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}

    return make


def _pixels(size: int, channels: int = 3) -> Callable[[], Inputs]:
    def make() -> Inputs:
        import torch

        return {"pixel_values": torch.rand(1, channels, size, size) * 2 - 1}

    return make


def _floats(name: str, *shape: int) -> Callable[[], Inputs]:
    def make() -> Inputs:
        import torch

        return {name: torch.randn(*shape)}

    return make


for _model in (
    "resnet18",
    "mobilenetv3_small_050",
    "efficientnet_b0",
    "tf_efficientnetv2_b0",
    "convnext_atto",
    "convnextv2_atto",
    "mobilevit_xxs",
    "mobilevitv2_050",
    "edgenext_xx_small",
    "poolformer_s12",
    "poolformerv2_s12",
    "regnetx_002",
    "regnety_002",
    "densenet121",
    "ghostnet_100",
    "mnasnet_small",
    "hrnet_w18_small",
    "dla34",
    "repvgg_a0",
    "resnest14d",
    "nf_regnet_b0",
    "xception41",
    "inception_next_atto",
    "mambaout_femto",
    "starnet_s1",
    "pvt_v2_b0",
    "twins_svt_small",
    "repvit_m0_9",
    "fastvit_t8",
    "focalnet_tiny_srf",
    "davit_tiny",
):
    _timm(_model)
for _model in (
    "vit_tiny_patch16_224",
    "deit_tiny_patch16_224",
    "mixer_s32_224",
    "resmlp_12_224",
    "gmlp_ti16_224",
    "xcit_nano_12_p16_224",
    "cait_xxs24_224",
    "eva02_tiny_patch14_224",
    "levit_128s",
):
    _timm(_model, size=112 if "patch14" in _model else 64, img_size=112 if "patch14" in _model else 64)
_timm("swin_tiny_patch4_window7_224", size=64, img_size=64, window_size=4)
_timm("swinv2_tiny_window8_256", size=64, img_size=64, window_size=4)
_timm("maxvit_pico_rw_256", size=64, img_size=64)
_timm("coatnet_pico_rw_224", size=64, img_size=64)
for _model in ("hiera_tiny_224", "efficientformer_l1", "tiny_vit_5m_224"):
    _timm(_model, size=224)

_SMALL: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
_VISION: dict[str, Any] = {
    "image_size": 64,
    "patch_size": 16,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
_DECODER: dict[str, Any] = _SMALL | {"num_key_value_heads": 2}


def _vision(**changes: int) -> dict[str, Any]:
    return _VISION | changes


_transformer("bert", "BertModel", "BertConfig", _tokens(), **_SMALL)
_transformer("roberta", "RobertaModel", "RobertaConfig", _tokens(), **_SMALL)
_transformer("electra", "ElectraModel", "ElectraConfig", _tokens(), embedding_size=16, **_SMALL)
_transformer("albert", "AlbertModel", "AlbertConfig", _tokens(), embedding_size=16, **_SMALL)
_transformer("mpnet", "MPNetModel", "MPNetConfig", _tokens(), **_SMALL)
_transformer("deberta_v2", "DebertaV2Model", "DebertaV2Config", _tokens(), **_SMALL)
_transformer(
    "distilbert",
    "DistilBertModel",
    "DistilBertConfig",
    _tokens(),
    vocab_size=99,
    dim=32,
    n_layers=2,
    n_heads=4,
    hidden_dim=64,
)
_transformer("gpt2", "GPT2Model", "GPT2Config", _tokens(), vocab_size=99, n_embd=32, n_layer=2, n_head=4)
_transformer(
    "t5_encoder", "T5EncoderModel", "T5Config", _tokens(), vocab_size=99, d_model=32, d_kv=8, d_ff=64, num_layers=2,
    num_heads=4,
)  # fmt: skip
for _name, _class in (
    ("llama", "Llama"), ("mistral", "Mistral"), ("qwen2", "Qwen2"), ("qwen3", "Qwen3"), ("gemma2", "Gemma2"),
    ("phi3", "Phi3"),
):  # fmt: skip
    _transformer(_name, f"{_class}Model", f"{_class}Config", _tokens(), **_DECODER, head_dim=8, pad_token_id=0)
_transformer("vit", "ViTModel", "ViTConfig", _pixels(64), **_VISION)
_transformer("deit", "DeiTModel", "DeiTConfig", _pixels(64), **_VISION)
_transformer("beit", "BeitModel", "BeitConfig", _pixels(64), use_relative_position_bias=True, **_VISION)
_transformer("dinov2", "Dinov2Model", "Dinov2Config", _pixels(56), **_vision(image_size=56, patch_size=14))
_transformer(
    "swin", "SwinModel", "SwinConfig", _pixels(64), image_size=64, embed_dim=16, depths=[2, 2], num_heads=[2, 4],
    window_size=4,
)  # fmt: skip
_transformer(
    "swinv2", "Swinv2Model", "Swinv2Config", _pixels(64), image_size=64, embed_dim=16, depths=[2, 2],
    num_heads=[2, 4], window_size=4,
)  # fmt: skip
_transformer(
    "segformer", "SegformerForSemanticSegmentation", "SegformerConfig", _pixels(64), depths=[1, 1, 1, 1],
    hidden_sizes=[16, 16, 32, 32], decoder_hidden_size=32,
)  # fmt: skip
_transformer(
    "convnext", "ConvNextModel", "ConvNextConfig", _pixels(64), depths=[1, 1, 1, 1], hidden_sizes=[16, 16, 32, 32]
)
_transformer("siglip_vision", "SiglipVisionModel", "SiglipVisionConfig", _pixels(64), **_VISION)
_transformer("clip_vision", "CLIPVisionModel", "CLIPVisionConfig", _pixels(64), **_VISION)
_transformer("clip_text", "CLIPTextModel", "CLIPTextConfig", _tokens(), eos_token_id=98, **_SMALL)
_transformer("mobilevit", "MobileViTModel", "MobileViTConfig", _pixels(64), image_size=64)
_transformer("poolformer", "PoolFormerModel", "PoolFormerConfig", _pixels(64))
_transformer("levit", "LevitModel", "LevitConfig", _pixels(64), image_size=64)
_transformer("pvt_v2", "PvtV2Model", "PvtV2Config", _pixels(64), image_size=64)
_transformer(
    "dpt", "DPTForDepthEstimation", "DPTConfig", _pixels(64), fusion_hidden_size=16, neck_hidden_sizes=[8, 16, 16, 16],
    backbone_out_indices=[0, 1, 2, 3], **_vision(num_hidden_layers=4),
)  # fmt: skip
_transformer(
    "whisper_encoder", "WhisperModel", "WhisperConfig", _floats("input_features", 1, 80, 64),
    part=lambda module: module.encoder, vocab_size=99, d_model=32, encoder_layers=2, decoder_layers=1,
    encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
    max_source_positions=32, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
)  # fmt: skip
_AUDIO: dict[str, Any] = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64,
    "conv_dim": (16, 16, 16), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 2), "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4, "vocab_size": 32,
}  # fmt: skip
_transformer("wav2vec2", "Wav2Vec2Model", "Wav2Vec2Config", _floats("input_values", 1, 1600), **_AUDIO)
_transformer("hubert", "HubertModel", "HubertConfig", _floats("input_values", 1, 1600), **_AUDIO)
_transformer(
    "detr", "DetrForObjectDetection", "DetrConfig", _pixels(64), use_timm_backbone=False, use_pretrained_backbone=False,
    backbone=None, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
    encoder_ffn_dim=64, decoder_ffn_dim=64, num_queries=5, num_labels=3,
    backbone_config={"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 16, 16, 32],
                     "depths": [1, 1, 1, 1], "layer_type": "basic", "out_features": ["stage4"]},
)  # fmt: skip


# --- exporting


def _prepare_imports() -> None:
    """torchvision's compiled library wants a GPU build of torch; timm needs none of its operators, only its Python."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("torchvision._meta_registrations"))


def _onnx(dynamo: bool, opset: int) -> Callable[[torch.nn.Module, Inputs, Path], None]:
    def write(module: torch.nn.Module, inputs: Inputs, path: Path) -> None:
        import torch

        torch.onnx.export(
            module,
            tuple(inputs.values()),
            str(path),
            dynamo=dynamo,
            opset_version=opset,
            input_names=list(inputs),
            external_data=False,
            verbose=False,
        )

    return write


def _write_pt2(module: torch.nn.Module, inputs: Inputs, path: Path) -> None:
    import torch

    torch.export.save(torch.export.export(module, tuple(inputs.values())), path)


def _write_torchscript(module: torch.nn.Module, inputs: Inputs, path: Path) -> None:
    import torch

    torch.jit.save(torch.jit.trace(module, tuple(inputs.values()), check_trace=False, strict=False), path)


@dataclass(frozen=True)
class Exporter:
    """A way to write a model: the end of the file's name, and what writes it."""

    suffix: str
    write: Callable[[torch.nn.Module, Inputs, Path], None]


EXPORTERS = {
    "dynamo": Exporter(".dynamo18.onnx", _onnx(dynamo=True, opset=18)),
    "script": Exporter(".script17.onnx", _onnx(dynamo=False, opset=17)),
    "pt2": Exporter(".pt2", _write_pt2),
    "torchscript": Exporter(".pt", _write_torchscript),
}


def export(family: Family, exporter: Exporter, path: Path) -> None:
    """Write the family's model, and beside it its inputs and outputs, in order, as ``.npz``."""
    import torch

    torch.manual_seed(0)
    module, inputs = family.build()
    module.eval()
    perturb_constant_parameters(module)
    target = path.with_name(f"part-{path.name}")
    with torch.no_grad():
        found = module(*inputs.values())
        exporter.write(module, inputs, target)
    outputs = found if isinstance(found, (tuple, list)) else (found,)
    arrays = {f"in.{name}": value.numpy() for name, value in inputs.items()}
    arrays |= {f"out.{index:03}": value.numpy() for index, value in enumerate(outputs)}
    np.savez(samples_path(path), **arrays)  # type: ignore[arg-type]
    target.replace(path)


def samples_path(path: Path) -> Path:
    """Where a file's example inputs and outputs lie."""
    return path.with_name(f"{path.name}.npz")


def exported(family: Family, exporter: Exporter) -> Path:
    """The family's file, exported first where it is not there yet."""
    folder = cache_folder() / "families"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{family.name}{exporter.suffix}"
    if not path.is_file():
        packages = cache_folder() / "packages"
        packages.mkdir(parents=True, exist_ok=True)
        folders = [installed(requirement, packages) for requirement in (*TRANSFORMERS, *_TIMM)]
        with importable(folders), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # exporters warn about their own future
            _prepare_imports()
            export(family, exporter, path)
    return path


# --- measuring


@dataclass(frozen=True)
class Row:
    """What became of one file. ``failed`` is the first thing that went wrong, or empty."""

    nodes: int = 0
    cpu: Sequence[tuple[str, str]] = ()
    difference: float = float("nan")
    sqnr_db: float | None = None
    failed: str = ""


def samples_of(path: Path) -> Arrays:
    """Inputs [SAMPLES, ...] like the model's examples: other pictures, other tokens, the same masks."""
    generator = np.random.default_rng(0)
    with np.load(samples_path(path)) as file:
        examples = {name.removeprefix("in."): file[name] for name in file.files if name.startswith("in.")}
    return {
        name: np.concatenate([_varied(name, value, generator) for _ in range(SAMPLES)])
        for name, value in examples.items()
    }


def _varied(name: str, example: NDArray[np.generic], generator: np.random.Generator) -> NDArray[np.generic]:
    if name == "attention_mask":
        return example
    if example.dtype.kind == "f":
        return generator.normal(size=example.shape).astype(example.dtype)
    return generator.permuted(example, axis=-1)


def measure(path: Path) -> Row:
    """Import, run in float, plan, lower and run in integers; the row says how far it came."""
    row = Row()
    try:
        session = Session.open(path)
        row = replace(row, nodes=len(session.graph.nodes))
        arrays = samples_of(path)
        if len(arrays) != len(session.graph.inputs):  # an exporter leaves out inputs that nothing reads
            arrays = {name: arrays[name] for name in session.graph.inputs}
        row = replace(row, difference=_difference(session, path))
        row = replace(row, cpu=_on_cpu(session))
        with tempfile.TemporaryDirectory() as folder:
            samples = Path(folder) / "samples.npz"
            renamed = dict(zip(session.graph.inputs, arrays.values(), strict=False))
            np.savez(samples, **renamed)  # type: ignore[arg-type]
            session.calibrate(samples)
            errors = session.analyze(samples=1)
        row = replace(row, sqnr_db=errors.output_sqnr_db.mean)
    except QuantscopeError as error:
        return replace(row, failed=str(error).replace(f"{path}: ", ""))
    except Exception as error:
        return replace(row, failed=f"{type(error).__name__}: {error}")
    if not row.difference <= TOLERANCE:
        return replace(row, failed="differs from ONNX Runtime")
    return row


def _difference(session: Session, path: Path) -> float:
    """Largest difference of an output from ONNX Runtime's, or torch's, relative to its largest value there."""
    with np.load(samples_path(path)) as file:
        inputs = [file[name] for name in file.files if name.startswith("in.")]
        expected = [file[name] for name in file.files if name.startswith("out.")]
        names = [name.removeprefix("in.") for name in file.files if name.startswith("in.")]
    feeds = dict(zip(names, inputs, strict=True))
    if path.suffix == ".onnx":
        expected = _by_runtime(path, feeds)
    ours = session.graph.inputs
    found = session.run_float({name: feeds.get(name, value) for name, value in zip(ours, inputs, strict=False)})
    return max(
        float(np.abs(value.astype(np.float64) - np.asarray(theirs, np.float64)).max() / max(np.abs(theirs).max(), 1e-9))
        for value, theirs in zip((found[name] for name in session.graph.outputs), expected, strict=True)
    )


def _by_runtime(path: Path, feeds: Arrays) -> list[NDArray[np.generic]]:
    """The outputs by ONNX Runtime, in order."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    runtime = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    wanted = {item.name for item in runtime.get_inputs()}
    results = runtime.run(None, {name: value for name, value in feeds.items() if name in wanted})
    return [np.asarray(value) for value in results]


def _on_cpu(session: Session) -> list[tuple[str, str]]:
    """Operator and reason of each node that computes float values on the CPU."""
    reasons = {refusal.id: refusal.reason for refusal in session.refusals()}
    graph = session.graph
    return [(graph.by_id[node].op.type_name, reasons.get(node, "")) for node in session.cpu_nodes()]


def print_row(name: str, kind: str, row: Row, reasons: bool) -> None:
    """The file's row, and with ``reasons`` one for each operator on the CPU and why it is there."""
    operators = Counter(operator for operator, _ in row.cpu)
    fault = row.failed or ", ".join(f"{count} {operator}" for operator, count in operators.most_common())
    sqnr = "" if row.sqnr_db is None else f"{row.sqnr_db:.1f}"
    text = " ".join(fault.split())[:200]
    print(f"{name:28}{kind:12}{row.nodes:6}{len(row.cpu):5}{row.difference:10.1e}{sqnr:>9}  {text}", flush=True)
    for (operator, reason), count in Counter(row.cpu).most_common() if reasons else ():
        print(f"{'':12}{count} x {operator}: {reason}")


def try_family(family: Family, kind: str, reasons: bool) -> bool:
    """Export where needed, measure and print; False where the engine did not get through."""
    try:
        path = exported(family, EXPORTERS[kind])
    except Exception as error:  # whatever building or exporting raises
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"{family.name:28}{kind:12}  torch writes no such file: {text[:160]}", flush=True)
        return True
    row = measure(path)
    print_row(family.name, kind, row, reasons)
    return not row.failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--exporter", action="append", choices=list(EXPORTERS), help="dynamo and script unless given")
    parser.add_argument("--reasons", action="store_true", help="say of each operator on the CPU why it is there")
    parser.add_argument("--list", action="store_true", help="list the families")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(FAMILIES))
        return 0
    print(f"{'family':28}{'file':12}{'nodes':>6}{'cpu':>5}{'float':>10}{'SQNR dB':>9}  at fault")
    chosen = [FAMILIES[name] for name in arguments.names or FAMILIES]
    kinds = arguments.exporter or ["dynamo", "script"]
    return sum(not try_family(family, kind, arguments.reasons) for family in chosen for kind in kinds)


if __name__ == "__main__":
    sys.exit(main())
