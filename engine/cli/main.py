"""``quantscope``: the command line. Heavy imports happen inside the commands, so that ``--help`` is instant."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from engine.errors import Cancelled, QuantscopeError

app = typer.Typer(
    name="quantscope",
    help="Put neural networks on int8 chips: see where quantisation hurts and where time goes, change it, export it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
targets_app = typer.Typer(help="The chips that Quantscope knows.", no_args_is_help=True)
app.add_typer(targets_app, name="targets")

ProjectArgument = Annotated[Path, typer.Argument(metavar="P.qscope", help="A project file.", show_default=False)]
ModelArgument = Annotated[
    Path, typer.Argument(metavar="P.qscope|MODEL", help="A project, or a model (.onnx, .pt2, .pt).", show_default=False)
]
JsonOption = Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result as JSON.")]
TargetOption = Annotated[str | None, typer.Option("--target", metavar="T", help="Target name, or a .toml file.")]
BindOption = Annotated[
    list[str] | None,
    typer.Option("--bind", metavar="NAME=SIZE", help="Size of a dimension, or x=1x3x224x224."),
]
BatchOption = Annotated[
    int | None, typer.Option("--batch", metavar="N", min=1, help="Samples of a frame, where the model leaves it open.")
]
GoalOption = Annotated[
    str | None, typer.Option("--goal", metavar="latency|bandwidth|balanced", help="What the compiler decides by.")
]
WeightOption = Annotated[
    float | None, typer.Option("--weight", metavar="W", help="What DDR traffic counts for in balanced, 0 to 1.")
]
LevelOption = Annotated[str | None, typer.Option("--level", metavar="O0|O1|O2|O3", help="How much is done.")]
CoresOption = Annotated[
    int | None, typer.Option("--cores", metavar="N", min=1, help="Cores that frames are spread over.")
]

PresetOption = Annotated[
    str | None,
    typer.Option("--preset", metavar="fast|balanced|best", help="How much is tried to come close to float."),
]
MaxInt16Option = Annotated[
    float | None,
    typer.Option(
        "--max-int16", metavar="SHARE", min=0.0, max=1.0, help="Of the operators, instead of the preset's own; 0: none."
    ),
]


@app.command()
def gui(path: Annotated[Path | None, typer.Argument(metavar="[MODEL|PROJECT]", show_default=False)] = None) -> None:
    """Open the window."""
    from engine.cli.window import window_entry

    raise typer.Exit(window_entry("gui")(None if path is None else str(path)))


@app.command()
def new(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A model (.onnx, .pt2, .pt).", show_default=False)],
    calibration: Annotated[
        Path, typer.Option("--calibration", metavar="DATA", help="Folder of pictures, or .npz.", show_default=False)
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="P.qscope", show_default=False)],
    target: Annotated[str, typer.Option("--target", metavar="T", help="Target name, or a .toml file.")] = "journey5",
    recipe: Annotated[Path | None, typer.Option(metavar="R.toml", help="How a picture becomes an input.")] = None,
    samples: Annotated[int | None, typer.Option(metavar="N", help="Calibration samples to take.")] = None,
    method: Annotated[
        str | None, typer.Option(help="Range method: mse, max, average, percentile, p99.9, p99.999, kl or table.")
    ] = None,
    power_of_two: Annotated[bool, typer.Option("--power-of-two", help="Only powers of two as scales.")] = False,
    split: Annotated[str | None, typer.Option(metavar="S", help="Part of the data to calibrate with.")] = None,
    bind: BindOption = None,
    preset: PresetOption = None,
    max_int16: MaxInt16Option = None,
    json: JsonOption = None,
) -> None:
    """Calibrate a model and write a project."""
    from engine.cli import commands

    ranges, chosen = (method, power_of_two), (preset, max_int16)
    commands.new(model, calibration, output, target, recipe, samples, *ranges, split, bind or [], *chosen, json)


@app.command()
def quantise(
    project: ProjectArgument,
    preset: PresetOption = "balanced",
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Calibration samples to fit and judge on.")] = 64,
    max_int16: MaxInt16Option = None,
    json: JsonOption = None,
) -> None:
    """Bring the integers closer to the float model: each step that gains on held-out samples is kept."""
    from engine.cli import quantising

    quantising.quantise(project, preset or "balanced", samples, max_int16, json)


@app.command()
def mark(
    project: ProjectArgument,
    node: Annotated[str, typer.Option("--node", metavar="REGEX", help="Which nodes, by id.", show_default=False)],
    precision: Annotated[
        str, typer.Option("--precision", metavar="int8|int16|lut|float|auto", help="What to ask for.")
    ],
    json: JsonOption = None,
) -> None:
    """Request a precision for nodes, in the project."""
    from engine.cli import commands

    commands.mark(project, node, precision, json)


@app.command()
def fuse(
    project: ProjectArgument,
    node: Annotated[
        list[str] | None, typer.Option("--node", metavar="REGEX", help="Which nodes, by id; can be repeated.")
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="N", help="Name of the region; one of that name is replaced.")
    ] = None,
    dissolve: Annotated[str | None, typer.Option(metavar="N", help="Remove the region of this name instead.")] = None,
    json: JsonOption = None,
) -> None:
    """Have nodes run as one kernel, in the project; or say which rule forbids it."""
    from engine.cli import commands

    commands.fuse(project, node or [], name, dissolve, json)


@app.command()
def check(
    path: ModelArgument,
    target: TargetOption = None,
    bind: BindOption = None,
    accumulators: Annotated[
        bool, typer.Option("--accumulators", help="List how large every layer's sums can become.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Say which nodes do not run on the chip, or not as requested, and why; and whether sums fit their accumulators."""
    from engine.cli import commands

    commands.check(path, target, bind or [], accumulators, json)


@app.command()
def analyze(
    project: ProjectArgument,
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Calibration samples to measure on.")] = 8,
    sensitivity: Annotated[
        bool, typer.Option("--sensitivity", help="The outputs' error where only one node is quantised.")
    ] = False,
    causes: Annotated[bool, typer.Option("--causes", help="What each unit introduces, by cause.")] = False,
    channels: Annotated[
        str | None, typer.Option(metavar="NODE", help="The error of each channel of a node.", show_default=False)
    ] = None,
    worst_samples: Annotated[int, typer.Option(metavar="N", min=0, help="So many worst samples of each output.")] = 0,
    compare: Annotated[
        Path | None,
        typer.Option(metavar="OTHER.qscope", help="Where another project's plan parts from it.", show_default=False),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Measure the error of every node, beside its estimated time; and why, where and on what it is largest."""
    from engine.cli import analysing, commands

    parts = analysing.Parts(sensitivity, causes, channels, worst_samples, compare)
    commands.analyze(project, samples, parts, json)


@app.command()
def evaluate(
    project: ProjectArgument,
    data: Annotated[Path, typer.Option("--data", metavar="DATA", help="Labelled samples.", show_default=False)],
    split: Annotated[str | None, typer.Option(metavar="S", help="Part of the data to evaluate on.")] = None,
    samples: Annotated[int | None, typer.Option(metavar="N", help="At most so many samples.")] = None,
    recipe: Annotated[Path | None, typer.Option(metavar="R.toml", help="Instead of the project's recipe.")] = None,
    json: JsonOption = None,
) -> None:
    """Top-1 of the float model and of the integer program on labelled data."""
    from engine.cli import commands

    commands.evaluate(project, data, split, samples, recipe, json)


@app.command()
def train(
    project: ProjectArgument,
    data: Annotated[Path, typer.Option("--data", metavar="DATA", help="Samples, labelled or not.", show_default=False)],
    epochs: Annotated[int, typer.Option(metavar="N", help="Passes over the samples.")] = 1,
    lr: Annotated[float, typer.Option(metavar="R", help="Learning rate of the weights.")] = 3e-5,
    batch: Annotated[int, typer.Option(metavar="N", help="Samples a step.")] = 32,
    distill: Annotated[
        bool, typer.Option("--distill", help="Follow the float model even where there are labels.")
    ] = False,
    optimizer: Annotated[str, typer.Option(metavar="adam|sgd", help="How steps are made.")] = "adam",
    schedule: Annotated[str, typer.Option(metavar="cosine|constant", help="Course of the learning rate.")] = "cosine",
    holdout: Annotated[float, typer.Option(metavar="SHARE", help="Samples kept aside to judge by.")] = 0.1,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the order of samples.")] = 0,
    recipe: Annotated[Path | None, typer.Option(metavar="R.toml", help="Instead of the project's recipe.")] = None,
    split: Annotated[str | None, typer.Option(metavar="S", help="Part of the data; 'training' by default.")] = None,
    samples: Annotated[int | None, typer.Option(metavar="N", help="At most so many samples.")] = None,
    device: Annotated[str, typer.Option(metavar="cpu|cuda", help="Where gradients are computed.")] = "cpu",
    checkpoint: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep the run's state there.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint, bit for bit.")] = False,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="P.qscope", help="Another project to write.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Train with the integer program in the loop, and write what was learned into the project."""
    from engine.cli import training

    sources = training.Sources(data, recipe, split, samples, device, checkpoint, resume)
    options = training.options(
        epochs=epochs,
        learning_rate=lr,
        batch=batch,
        distill=distill,
        optimiser=optimizer,
        schedule=schedule,
        holdout=holdout,
        seed=seed,
    )
    training.train_project(project, output, sources, options, json)


@app.command()
def advise(
    project: ProjectArgument,
    node: Annotated[
        list[str] | None, typer.Option("--node", metavar="REGEX", help="Look at these nodes only; can be repeated.")
    ] = None,
    places: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many nodes that matter.")] = 12,
    samples: Annotated[int, typer.Option(metavar="N", min=4, help="Calibration samples to try remedies on.")] = 16,
    data: Annotated[Path | None, typer.Option("--data", metavar="DATA", help="Labelled data to count on.")] = None,
    split: Annotated[str | None, typer.Option(metavar="S", help="Part of that data.")] = None,
    max_drop: Annotated[float, typer.Option(metavar="P", min=0.0, help="Points of top-1 that may be lost.")] = 0.5,
    min_db: Annotated[
        float | None, typer.Option("--min-db", metavar="DB", help="Output SQNR that is enough, in place of points.")
    ] = None,
    apply: Annotated[
        int | None, typer.Option("--apply", metavar="N", min=1, help="Apply remedy N, and save the project.")
    ] = None,
    apply_all: Annotated[
        bool, typer.Option("--apply-all", help="Apply the remedies that go best together, and save the project.")
    ] = False,
    json: JsonOption = None,
) -> None:
    """Where accuracy is lost and why, remedies with gain and cost, and whether PTQ is enough (exit status 0), QAT is
    needed (3) or the samples do not tell (4)."""
    from engine.advise.advisor import Labelled
    from engine.cli import advising
    from engine.reports_advice import Aim

    labelled = None if data is None else Labelled(data, split)
    number = advising.COMBINATION if apply_all else apply
    aim = Aim(max_drop, min_db)
    wanted = advising.Wanted(tuple(node or ()), places, samples, labelled, aim, number)
    if status := advising.advise(project, wanted, json):
        raise typer.Exit(status)


@app.command()
def verify(
    project: ProjectArgument,
    samples: Annotated[int, typer.Option(metavar="N", min=1, help="Calibration samples to compare with.")] = 2,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", metavar="S", help="float, calibrated, integer, exported or package; can be repeated."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Compare every stage with programs that nobody here wrote; exit status 1 where one differs."""
    from engine.cli import commands

    if not commands.verify(project, samples, stage or [], json):
        raise typer.Exit(1)


@app.command()
def estimate(
    path: ModelArgument, target: TargetOption = None, bind: BindOption = None, json: JsonOption = None
) -> None:
    """Estimate the time of every node; needs no calibration data."""
    from engine.cli import commands

    commands.estimate(path, target, bind or [], json)


@app.command("compile")
def compile_command(
    path: ModelArgument,
    target: TargetOption = None,
    bind: BindOption = None,
    batch: BatchOption = None,
    goal: GoalOption = None,
    weight: WeightOption = None,
    level: LevelOption = None,
    cores: CoresOption = None,
    json: JsonOption = None,
) -> None:
    """Compile the model: what each pass did, where the time goes, the slowest kernels. Needs no calibration data."""
    from engine.cli import compiled

    chosen = compiled.Choices(target, bind or (), batch, goal, weight, level, cores)
    compiled.compile_model(path, chosen, json)


@app.command()
def timeline(
    path: ModelArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="trace.json", show_default=False)],
    frames: Annotated[int, typer.Option(metavar="N", min=1, max=100, help="Frames behind each other.")] = 1,
    target: TargetOption = None,
    bind: BindOption = None,
    batch: BatchOption = None,
    goal: GoalOption = None,
    weight: WeightOption = None,
    level: LevelOption = None,
    cores: CoresOption = None,
    json: JsonOption = None,
) -> None:
    """Write when each job of the compiled model runs, for Perfetto or chrome://tracing."""
    from engine.cli import compiled

    chosen = compiled.Choices(target, bind or (), batch, goal, weight, level, cores)
    compiled.write_timeline(path, output, frames, chosen, json)


@app.command()
def tune(
    project: ProjectArgument,
    max_drop: Annotated[
        float | None, typer.Option("--max-drop", metavar="POINTS", help="The fastest plan that loses at most so much.")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option("--max-latency-ms", metavar="MS", help="The most accurate plan that is as fast.")
    ] = None,
    max_ddr_mb: Annotated[
        float | None, typer.Option("--max-ddr-mb", metavar="MB", help="At most so much DDR traffic an inference.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="DATA", help="Labelled samples to tell the drop by.")
    ] = None,
    split: Annotated[str | None, typer.Option(metavar="S", help="Part of these samples.")] = None,
    minutes: Annotated[float | None, typer.Option(metavar="N", help="Stop then; or once nothing is gained.")] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", min=1, help="Try at most so many plans.")] = None,
    samples: Annotated[
        int, typer.Option(metavar="N", min=2, help="Calibration samples to try on; the front is confirmed on all.")
    ] = 16,
    seed: Annotated[int, typer.Option(metavar="N", help="Same seed, same plans in the same order.")] = 0,
    executor: Annotated[str, typer.Option(metavar="processes|inline", help="Who measures plans.")] = "processes",
    workers: Annotated[int | None, typer.Option(metavar="N", min=1, help="Processes; without, one a core.")] = None,
    scheduler: Annotated[
        str, typer.Option(metavar="tcp://HOST:PORT", help="A Dask scheduler whose workers measure instead.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="BEST.qscope", help="Where the chosen plan is written.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Search precisions, ranges and fusion: a front over accuracy, latency and DDR traffic. Can be stopped, and goes on
    where it was; exit status 1 where no plan keeps the bounds.
    """
    from engine.cli import tuning
    from engine.tune.records import TuneSettings

    most_ddr = None if max_ddr_mb is None else round(max_ddr_mb * 1e6)
    settings = TuneSettings(max_drop, max_latency_ms, most_ddr, minutes, trials, samples, seed)
    who = tuning.Workers(executor, workers, scheduler)
    if not tuning.tune_project(project, settings, who, data, split, output, json):
        raise typer.Exit(1)


@app.command()
def export(
    project: ProjectArgument,
    format: Annotated[
        str, typer.Option("--format", metavar="package|qdq|integer-onnx|tosa|ethos-u", help="What to write.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", show_default=False)],
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="NAME=VALUE", help="An option of the format; can be repeated."),
    ] = None,
    json: JsonOption = None,
) -> None:
    """Export the quantised model."""
    from engine.cli import commands

    commands.export(project, format, output, option or [], json)


@app.command()
def run(
    package: Annotated[Path, typer.Argument(metavar="PACKAGE", help="An exported package.", show_default=False)],
    inputs: Annotated[Path, typer.Option("--inputs", metavar="X.npz", help="Arrays named like the inputs.")],
    outputs: Annotated[Path, typer.Option("--outputs", metavar="Y.npz", help="Where the outputs go.")],
    json: JsonOption = None,
) -> None:
    """Execute a package, bit for bit what the session computes."""
    from engine.cli import commands

    commands.run(package, inputs, outputs, json)


@app.command()
def screenshot(
    project: ProjectArgument,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="F.png", show_default=False)],
    overlay: Annotated[str, typer.Option(metavar="accumulated|introduced|latency|bound|sensitivity")] = "accumulated",
    size: Annotated[str, typer.Option(metavar="WxH", help="Size in pixels.")] = "1600x1000",
    json: JsonOption = None,
) -> None:
    """Picture of the window with the project's error or latency map."""
    from engine.cli.window import take_screenshot

    take_screenshot(project, output, overlay, size, json)


@targets_app.command("list")
def list_command(json: JsonOption = None) -> None:
    """Names of the targets."""
    from engine.cli import commands

    commands.list_targets(json)


@targets_app.command("show")
def show_command(
    target: Annotated[str, typer.Argument(metavar="T", help="Target name, or a .toml file.", show_default=False)],
    json: JsonOption = None,
) -> None:
    """Every figure of a target, with its source."""
    from engine.cli import commands

    commands.show_target(target, json)


@targets_app.command("fit")
def fit_command(
    measurements: Annotated[
        Path, typer.Option("--measurements", metavar="M.csv", help="One row a model or layer.", show_default=False)
    ],
    models: Annotated[
        Path, typer.Option("--models", metavar="DIR", help="Folder with the rows' models.", show_default=False)
    ],
    target: Annotated[
        str, typer.Option("--target", metavar="T", help="Target to begin with: a name, or a .toml file.")
    ] = "bayes-e-x5",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="OUT.toml", help="Where the fitted target is written.")
    ] = None,
    json: JsonOption = None,
) -> None:
    """Fit a target's figures to latencies measured on a board, and judge the fit on models that it has not seen."""
    from engine.cli import commands

    commands.fit_target(measurements, models, target, output, json)


INTERRUPTED = 130
"""Exit status behind Ctrl+C, as shells have it. Typer makes it of a KeyboardInterrupt, without a word."""


def main() -> None:
    """Entry point: an expected error is one line on standard error and exit status 1, or :data:`INTERRUPTED`."""
    try:
        app()
    except QuantscopeError as error:
        print(f"quantscope: {error}", file=sys.stderr)
        raise SystemExit(INTERRUPTED if isinstance(error, Cancelled) else 1) from None
    except SystemExit as end:
        if end.code == INTERRUPTED:
            print("quantscope: interrupted", file=sys.stderr)
        raise


if __name__ == "__main__":
    main()
