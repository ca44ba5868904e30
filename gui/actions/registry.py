"""The commands. To add one: a row here, and a handler of the same id in one of the handler classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

from gui.actions import state as when
from gui.actions.state import ActionState, Condition
from gui.document.exports import EXPORT_FORMATS
from gui.document.graph_view import GraphView
from gui.document.overlay import Overlay

MENUS = ("File", "Edit", "Precision", "View", "Go", "Help")


@dataclass(frozen=True)
class ActionSpec:
    """One command. ``unavailable`` says why it cannot be used now; ``is_checked`` makes it a switch.

    ``group`` separates menu entries with a line; ``tool_group`` places it in the tool bar ("" leaves it
    out); ``badge`` is a short text for its button there, ``precision`` has the button show that
    precision; ``is_for_canvas`` has the shortcut work only while the graph has the focus, where elsewhere
    the key means something else.
    """

    id: str
    text: str
    help: str
    menu: str
    group: int = 0
    shortcuts: tuple[str, ...] = ()
    icon: str = ""
    badge: str = ""
    precision: str = ""
    tool_group: str = ""
    in_context_menu: bool = False
    is_for_canvas: bool = False
    unavailable: Condition = when.always
    is_checked: Callable[[ActionState], bool] | None = None


def _marks() -> tuple[ActionSpec, ...]:
    rows = (
        ("int8", "int8", "8", "Ask for 8-bit integers on the selected nodes"),
        ("int16", "int16", "6", "Ask for 16-bit integers on the selected nodes"),
        ("lut", "LUT", "L", "Ask for a look-up table on the selected nodes"),
        ("float", "Float", "F", "Leave the selected nodes to the CPU in float"),
        ("auto", "Auto", "A", "Let the target decide about the selected nodes"),
    )
    return tuple(
        ActionSpec(
            f"mark.{precision}",
            title,
            help_text,
            "Precision",
            shortcuts=(key,),
            precision=precision,
            tool_group="mark",
            in_context_menu=True,
            unavailable=when.is_markable,
        )
        for precision, title, key, help_text in rows
    )


def _regions() -> tuple[ActionSpec, ...]:
    return (
        ActionSpec(
            "region.fuse",
            "Fuse Selection",
            "Have the selected nodes run as one kernel",
            "Precision",
            group=1,
            shortcuts=("G",),
            icon="fuse",
            tool_group="region",
            in_context_menu=True,
            unavailable=when.can_fuse,
        ),
        ActionSpec(
            "region.split",
            "Split Region",
            "Cut the fusion region in two: the selected nodes, and the rest of it",
            "Precision",
            group=1,
            shortcuts=("Ctrl+Shift+G",),
            in_context_menu=True,
            unavailable=when.can_split,
        ),
        ActionSpec(
            "region.rename",
            "Rename Region …",
            "Call the fusion region of the selected nodes something else",
            "Precision",
            group=1,
            shortcuts=("F2",),
            in_context_menu=True,
            unavailable=when.is_in_one_region,
        ),
        ActionSpec(
            "region.dissolve",
            "Dissolve Region",
            "Have the nodes of the selected fusion regions run one by one",
            "Precision",
            group=1,
            shortcuts=("Shift+G",),
            in_context_menu=True,
            unavailable=when.is_in_region,
        ),
        ActionSpec(
            "region.show_nodes",
            "Show Nodes",
            "Select the nodes that broke the rule when fusing was refused",
            "Precision",
            group=1,
            unavailable=when.has_refused_region,
        ),
        ActionSpec(
            "region.fuse_nearest",
            "Fuse Nearest",
            "Fuse the nearest nodes that can run as one kernel, after a drag over nodes or a refusal",
            "Precision",
            group=1,
            shortcuts=("Return", "Enter"),
            is_for_canvas=True,
            unavailable=when.has_nearest_region,
        ),
    )


def _methods() -> tuple[ActionSpec, ...]:
    rows = (
        ("mse", "Ranges by MSE", "Ranges that make the mean square error of each tensor least"),
        ("max", "Ranges by Maximum", "Ranges that hold every value seen"),
        ("average", "Ranges by Moving Average", "Ranges that hold what the samples reach on average"),
        ("percentile", "Ranges by Percentile", "Ranges that leave out the rarest values, one of 10,000"),
        ("p99.9", "Ranges by Percentile 99.9", "Ranges that leave out one value of 1,000"),
        ("p99.999", "Ranges by Percentile 99.999", "Ranges that leave out one value of 100,000"),
        ("kl", "Ranges by KL Divergence", "Ranges that keep each tensor's distribution"),
        ("table", "Ranges behind Functions", "Ranges of least error behind the functions that read a tensor"),
    )
    return tuple(
        ActionSpec(
            f"method.{method}",
            title,
            help_text,
            "Precision",
            group=2,
            unavailable=when.is_open,
            is_checked=lambda state, method=method: state.method == method,
        )
        for method, title, help_text in rows
    )


def _overlays() -> tuple[ActionSpec, ...]:
    rows = (
        (Overlay.ACCUMULATED, "Accumulated Error", "Accumulated", "1", when.has_errors, "accumulated"),
        (Overlay.INTRODUCED, "Introduced Error", "Introduced", "2", when.has_errors, "introduced"),
        (Overlay.LATENCY, "Latency", "Latency", "3", when.has_timing, "latency"),
        (Overlay.BOUND, "What Bounds", "Bound", "4", when.has_timing, "bound"),
        (Overlay.SENSITIVITY, "Sensitivity", "Sensitivity", "5", when.has_errors, "sensitivity"),
        (Overlay.NONE, "No Heat Map", "None", "0", when.is_open, ""),
    )
    helps = {
        Overlay.ACCUMULATED: "Colour by the error that has accumulated at each node's output",
        Overlay.INTRODUCED: "Colour by the error that each node adds itself",
        Overlay.SENSITIVITY: "Colour by what each node alone does to the model's outputs: only this node quantised",
        Overlay.LATENCY: "Colour by estimated time on the target",
        Overlay.BOUND: "Colour by what the time of each node goes to: multipliers, vector unit, memory, CPU …",
        Overlay.NONE: "Show operators without a heat map",
    }
    return tuple(
        ActionSpec(
            f"overlay.{overlay.value}",
            title,
            helps[overlay],
            "View",
            shortcuts=(key,),
            icon=icon,
            badge=badge,
            tool_group="overlay",
            unavailable=condition,
            is_checked=lambda state, overlay=overlay: state.overlay == overlay,
        )
        for overlay, title, badge, key, condition, icon in rows
    )


def _graph_views() -> tuple[ActionSpec, ...]:
    rows = (
        (GraphView.SOURCE, "Source View", "Source", (), "Show the operators of the model"),
        (GraphView.COMPILED, "Compiled View", "Compiled", ("C",), "Show the kernels that the compiler made, and back"),
    )
    return tuple(
        ActionSpec(
            f"view.{view.value}",
            title,
            help_text,
            "View",
            group=1,
            shortcuts=keys,
            badge=badge,
            unavailable=when.is_open,
            is_checked=lambda state, view=view: state.graph_view is view,
        )
        for view, title, badge, keys, help_text in rows
    )


def _advice() -> tuple[ActionSpec, ...]:
    return (
        ActionSpec(
            "advice.model",
            "Advise on Accuracy",
            "Find out where accuracy is lost and why, try remedies there, and say whether they are enough",
            "Precision",
            group=3,
            shortcuts=("Ctrl+D",),
            icon="advise",
            tool_group="model",
            unavailable=when.can_export,
        ),
        ActionSpec(
            "advice.selection",
            "Advise on Selection",
            "Try remedies at the selected nodes",
            "Precision",
            group=3,
            in_context_menu=True,
            unavailable=when.can_advise_on_selection,
        ),
        ActionSpec(
            "tune.open",
            "Search Plans",
            "Search precisions, ranges and fusion: a front over accuracy, latency and DDR traffic",
            "Precision",
            group=3,
            shortcuts=("Ctrl+P",),
            unavailable=when.can_export,
        ),
        ActionSpec(
            "advice.apply_best",
            "Apply Best Remedies",
            "Apply the remedies that go best together, as one step",
            "Precision",
            group=3,
            unavailable=when.has_combination,
        ),
    )


COMPILED_PANELS = ("timeline", "memory", "roofline", "compiler")
"""Those of the compiled model."""

VALUE_PANELS = ("histogram", "lut", "errors")
"""Those of the values that nodes make, and of their errors."""

PANEL_COMMANDS = MappingProxyType({name: f"panel.{name}" for name in (*COMPILED_PANELS, *VALUE_PANELS)})
"""The commands that show and hide panels."""


FIT_TIME_COMMAND = "time.fit_selection"


def _panels() -> tuple[ActionSpec, ...]:
    rows = (
        ("timeline", "Timeline", "Ctrl+T", "What each engine of the chip does over the time of a frame"),
        ("memory", "Memory", "Ctrl+M", "What occupies on-chip memory and DDR over the time of a frame"),
        ("roofline", "Roofline", "Ctrl+R", "How near each kernel is to the limits of the chip"),
        ("compiler", "Compiler", "Ctrl+L", "Target, goal, level and cores, and what each pass of the compiler did"),
        ("errors", "Error Curve", "Ctrl+U", "How the error grows along the network, node by node"),
        ("histogram", "Histograms", "Ctrl+H", "How the selected node's values are distributed, by sample and channel"),
        ("lut", "Look-up Table", "Ctrl+Shift+H", "The selected node's table over its function and its inputs"),
    )
    return tuple(
        ActionSpec(
            PANEL_COMMANDS[name],
            title,
            help_text,
            "View",
            group=4,
            shortcuts=(key,),
            unavailable=when.is_open,
            is_checked=lambda state, name=name: name in state.panels,
        )
        for name, title, key, help_text in rows
    )


ACTIONS: tuple[ActionSpec, ...] = (
    ActionSpec(
        "file.open",
        "Open …",
        "Open a model or a project",
        "File",
        shortcuts=("Ctrl+O",),
        icon="open",
        tool_group="file",
        unavailable=when.engine_runs,
    ),
    ActionSpec(
        "file.open_bound",
        "Open With Dimensions …",
        "Open a model with sizes for its symbolic dimensions",
        "File",
        unavailable=when.engine_runs,
    ),
    ActionSpec(
        "file.save",
        "Save",
        "Write the project file",
        "File",
        group=1,
        shortcuts=("Ctrl+S",),
        icon="save",
        tool_group="file",
        unavailable=when.can_save,
    ),
    ActionSpec(
        "file.save_as",
        "Save As …",
        "Write the project to another file",
        "File",
        group=1,
        shortcuts=("Ctrl+Shift+S",),
        unavailable=when.can_save_as,
    ),
    ActionSpec(
        "model.calibrate",
        "Calibrate …",
        "Find the ranges of all tensors from samples",
        "File",
        group=2,
        icon="calibrate",
        tool_group="model",
        unavailable=when.can_calibrate,
    ),
    ActionSpec(
        "model.target_file",
        "Target From File …",
        "Plan for a chip that you describe in a .toml file",
        "File",
        group=2,
        unavailable=when.is_open,
    ),
    ActionSpec(
        "model.quantise",
        "Calibration and Presets",
        "Methods that bring the integers closer to the float model, each kept where it gains",
        "File",
        group=2,
        shortcuts=("Ctrl+Shift+K",),
        icon="quantise",
        tool_group="model",
        unavailable=when.is_open,
    ),
    ActionSpec(
        "model.evaluate",
        "Evaluate …",
        "Measure the accuracy on labelled data",
        "File",
        group=2,
        icon="evaluate",
        tool_group="model",
        unavailable=when.can_export,
    ),
    ActionSpec(
        "model.train",
        "Train …",
        "Learn weights, scales and thresholds with the integer program in the loop",
        "File",
        group=2,
        shortcuts=("Ctrl+Shift+L",),
        icon="train",
        unavailable=when.can_export,
    ),
    ActionSpec(
        "model.verify",
        "Verify",
        "Compare every stage with programs that others wrote, down to the exported package",
        "File",
        group=2,
        shortcuts=("Ctrl+Shift+V",),
        icon="verify",
        tool_group="model",
        unavailable=when.can_export,
    ),
    ActionSpec(
        EXPORT_FORMATS["package"].command,
        EXPORT_FORMATS["package"].title,
        EXPORT_FORMATS["package"].help,
        "File",
        group=3,
        shortcuts=("Ctrl+Shift+E",),
        icon="export",
        tool_group="model",
        unavailable=when.can_export,
    ),
    *(
        ActionSpec(row.command, row.title, row.help, "File", group=3, unavailable=when.can_export)
        for row in EXPORT_FORMATS.values()
        if row.name != "package"
    ),
    ActionSpec("file.quit", "Quit", "Close the window", "File", group=9, shortcuts=("Ctrl+Q",)),
    ActionSpec(
        "edit.undo",
        "Undo",
        "Take the last step back",
        "Edit",
        shortcuts=("Ctrl+Z",),
        icon="undo",
        tool_group="edit",
        unavailable=when.can_undo,
    ),
    ActionSpec(
        "edit.redo",
        "Redo",
        "Do the step again",
        "Edit",
        shortcuts=("Ctrl+Shift+Z", "Ctrl+Y"),
        icon="redo",
        tool_group="edit",
        unavailable=when.can_redo,
    ),
    ActionSpec(
        "select.same_type",
        "Select All of This Operator",
        "Select every node with the operators that are selected",
        "Edit",
        group=1,
        shortcuts=("Ctrl+Shift+A",),
        in_context_menu=True,
        unavailable=when.has_selection,
    ),
    ActionSpec(
        "select.all",
        "Select All",
        "Select every node",
        "Edit",
        group=1,
        shortcuts=("Ctrl+A",),
        unavailable=when.is_open,
    ),
    ActionSpec(
        "select.none",
        "Select None",
        "Select no node",
        "Edit",
        group=1,
        shortcuts=("Ctrl+Shift+D",),
        unavailable=when.has_selection,
    ),
    *_marks(),
    *_regions(),
    *_methods(),
    *_advice(),
    *_overlays(),
    ActionSpec(
        "view.fit",
        "Fit",
        "Show the whole graph",
        "View",
        group=1,
        shortcuts=("Space",),
        is_for_canvas=True,
        icon="fit",
        tool_group="view",
        unavailable=when.is_open,
    ),
    ActionSpec(
        "view.expand_all",
        "Expand All",
        "Open every module",
        "View",
        group=1,
        shortcuts=("Ctrl+E",),
        icon="expand",
        tool_group="view",
        unavailable=when.is_open,
    ),
    ActionSpec(
        "view.collapse_all",
        "Collapse All",
        "Close every module",
        "View",
        group=1,
        shortcuts=("Ctrl+Shift+C",),
        icon="collapse",
        tool_group="view",
        unavailable=when.is_open,
    ),
    *_graph_views(),
    ActionSpec(
        "view.light",
        "Light Theme",
        "Dark text on light panels",
        "View",
        group=2,
        is_checked=lambda state: state.theme == "light",
    ),
    ActionSpec(
        "view.dark",
        "Dark Theme",
        "Light text on dark panels",
        "View",
        group=2,
        is_checked=lambda state: state.theme == "dark",
    ),
    ActionSpec("view.reset_layout", "Reset Layout", "Put all panels back where they were first", "View", group=3),
    *_panels(),
    ActionSpec(
        FIT_TIME_COMMAND,
        "Fit Selection in Time",
        "Show on timeline and memory plan the stretch in which the selected nodes run",
        "View",
        group=4,
        shortcuts=("Ctrl+Shift+T",),
        unavailable=when.can_fit_time,
    ),
    ActionSpec(
        "go.find",
        "Find …",
        "Search nodes by name, operator or shape",
        "Go",
        shortcuts=("Ctrl+F",),
        icon="find",
        tool_group="go",
        unavailable=when.is_open,
    ),
    ActionSpec(
        "go.next_worst",
        "Next Worst Node",
        "Go to the next worst node of the heat map",
        "Go",
        group=1,
        shortcuts=("N",),
        icon="next",
        tool_group="go",
        unavailable=when.has_heat,
    ),
    ActionSpec(
        "go.previous_worst",
        "Previous Worst Node",
        "Go back to the worse node",
        "Go",
        group=1,
        shortcuts=("Shift+N",),
        icon="previous",
        tool_group="go",
        unavailable=when.has_heat,
    ),
    ActionSpec(
        "go.reveal",
        "Show on Graph",
        "Bring the selected node into view",
        "Go",
        group=2,
        shortcuts=("Ctrl+G",),
        in_context_menu=True,
        unavailable=when.has_selection,
    ),
    ActionSpec(
        "go.palette",
        "Command Palette …",
        "Find any command by its name",
        "Go",
        group=3,
        shortcuts=("Ctrl+K", "Ctrl+Shift+P"),
    ),
    ActionSpec(
        "engine.restart",
        "Restart Engine",
        "Start the engine process anew, after it stopped or when it hangs; your plan is kept",
        "Help",
    ),
    ActionSpec("help.about", "About Quantscope", "Version and licence", "Help", group=1),
)

BY_ID = MappingProxyType({spec.id: spec for spec in ACTIONS})
