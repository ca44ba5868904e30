"""Colours and fonts as data. No Qt here: widgets turn the hexadecimal strings into colours where they paint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


def _anchors(text: str) -> tuple[str, ...]:
    return tuple(text.split())


#: Anchors at equal steps of matplotlib's viridis and cividis (both CC0), dark to bright.
COLOUR_MAPS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "viridis": _anchors(
            "#440154 #481769 #472a7a #433d84 #3d4e8a #355e8d #2e6d8e #297b8e #23898e "
            "#1f978b #21a585 #2eb37c #46c06f #65cb5e #89d548 #b0dd2f #d8e219 #fde725"
        ),
        "cividis": _anchors(
            "#00204d #002b67 #00356e #28406c #3d4a6b #4d556c #5b606e #696b71 #767676 "
            "#848179 #928d78 #a19976 #b1a573 #c1b26d #d1bf66 #e2cd5c #f3db4f #ffea46"
        ),
        # Before/after: blue is better, orange is worse, and the middle is no change. Never red against green.
        "blue-orange": ("#1f4e9c", "#4f7fc4", "#9dbbe0", "#e9eaec", "#f3bd83", "#e08a2e", "#a85400"),
    }
)


#: What bounds a kernel, the same on light and dark: at least 25 CIELAB units apart for each kind of colour vision, and
#: contrast 2 on either background.
BOUND_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "mac": "#1850ee",
        "vector": "#42c0f7",
        "lut": "#9634b2",
        "dma": "#e3a905",
        "layout": "#048a5b",
        "cpu": "#be580f",
        "launch": "#aab5bc",
    }
)

#: Colours that are names, not degrees: nothing lies between them.
CATEGORY_COLOURS: Mapping[str, tuple[str, ...]] = MappingProxyType({"bounds": tuple(BOUND_COLOURS.values())})


@dataclass(frozen=True)
class Theme:
    """Every colour of the window, as #rrggbb (or #aarrggbb where it is see-through), and its font families."""

    name: str
    is_dark: bool
    window: str
    panel: str
    raised: str
    text: str
    muted_text: str
    outline: str
    accent: str
    accent_text: str
    warning: str
    canvas: str
    group_fill: str
    group_fill_alternate: str
    group_outline: str
    group_header: str
    group_header_text: str
    box: str
    box_text: str
    box_outline: str
    edge: str
    edge_in: str
    edge_out: str
    edge_label: str
    selection: str
    hover: str
    marker: str
    marker_text: str
    region: str
    kinds: Mapping[str, str]
    precisions: Mapping[str, str]
    font_family: str = "DejaVu Sans"
    mono_family: str = "DejaVu Sans Mono"
    font_size_pt: int = 9


#: What a badge says, so that precision is never told by colour alone.
PRECISION_BADGES: Mapping[str, str] = MappingProxyType(
    {"int8": "i8", "int16": "i16", "lut": "LUT", "float": "f32"}
)

LIGHT = Theme(
    name="light",
    is_dark=False,
    window="#f3f4f6",
    panel="#ffffff",
    raised="#ffffff",
    text="#1b1f24",
    muted_text="#5b6470",
    outline="#c9ced6",
    accent="#1d5fd0",
    accent_text="#ffffff",
    warning="#b45309",
    canvas="#eef0f3",
    group_fill="#ffffff",
    group_fill_alternate="#f6f7f9",
    group_outline="#b3bac5",
    group_header="#3d4653",
    group_header_text="#ffffff",
    box="#ffffff",
    box_text="#1b1f24",
    box_outline="#8d96a3",
    edge="#6b7480",
    edge_in="#1d6fd6",
    edge_out="#c2570c",
    edge_label="#4b5460",
    selection="#1d5fd0",
    hover="#0f172a",
    marker="#c2185b",
    marker_text="#ffffff",
    region="#0f766e",
    kinds=MappingProxyType(
        {
            "conv": "#2f6b8f",
            "matmul": "#34568b",
            "norm": "#5c7a3f",
            "activation": "#8a4f7d",
            "elementwise": "#6b6257",
            "layout": "#66707d",
            "reduce": "#8c6a2f",
            "io": "#2b2f36",
            "other": "#5b6068",
        }
    ),
    precisions=MappingProxyType({"int8": "#1668d8", "int16": "#7a3fd1", "lut": "#b8198f", "float": "#c24a05"}),
)

DARK = Theme(
    name="dark",
    is_dark=True,
    window="#1b1e23",
    panel="#22262c",
    raised="#2b3037",
    text="#e6e9ee",
    muted_text="#9aa4b1",
    outline="#3b424c",
    accent="#5b9bf5",
    accent_text="#0b1220",
    warning="#f0a35e",
    canvas="#15181c",
    group_fill="#1d2126",
    group_fill_alternate="#22272d",
    group_outline="#4a535f",
    group_header="#4a5563",
    group_header_text="#f2f4f7",
    box="#2c323a",
    box_text="#e6e9ee",
    box_outline="#69737f",
    edge="#8b95a2",
    edge_in="#62a8ff",
    edge_out="#ff9d52",
    edge_label="#a9b2be",
    selection="#8fc1ff",
    hover="#ffffff",
    marker="#ff6fa5",
    marker_text="#1b0710",
    region="#45c4b4",
    kinds=MappingProxyType(
        {
            "conv": "#37789f",
            "matmul": "#4369a8",
            "norm": "#5d7c3a",
            "activation": "#995c8b",
            "elementwise": "#7a7064",
            "layout": "#66707c",
            "reduce": "#8a6a2b",
            "io": "#0d1014",
            "other": "#666c75",
        }
    ),
    precisions=MappingProxyType({"int8": "#63a4ff", "int16": "#b18cff", "lut": "#ff7ad9", "float": "#ff9a4d"}),
)

THEMES: Mapping[str, Theme] = MappingProxyType({theme.name: theme for theme in (LIGHT, DARK)})


def channels(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of "#rrggbb" or "#aarrggbb", 0 … 255."""
    digits = colour.lstrip("#")[-6:]
    return int(digits[0:2], 16), int(digits[2:4], 16), int(digits[4:6], 16)


def mixed(first: str, second: str, share: float) -> str:
    """The opaque colour with this share of `first`, 0 … 1, the rest of `second`."""
    parts = (round(a * share + b * (1 - share)) for a, b in zip(channels(first), channels(second), strict=True))
    return "#{:02x}{:02x}{:02x}".format(*parts)


def luminance(colour: str) -> float:
    """Relative luminance after WCAG 2, 0 (black) … 1 (white)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Contrast ratio after WCAG 2, 1 … 21."""
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def text_on(fill: str, dark: str = "#10141a", light: str = "#ffffff") -> str:
    """The text colour that reads better on `fill`."""
    return dark if contrast(dark, fill) >= contrast(light, fill) else light
