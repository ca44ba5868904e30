"""Every post-training method by its name, and the presets made of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engine.quantise.step import Step

STEPS: Mapping[str, Step] = MappingProxyType({})
"""By the name that reports and the command line use."""

PRESETS: Mapping[str, tuple[str, ...]] = MappingProxyType({"fast": (), "balanced": (), "best": ()})
"""The steps of each preset, in their order; each begins with all steps of the one before it."""
