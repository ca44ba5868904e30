"""Every post-training method by its name, and the presets made of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engine.quantise.bias import BiasCorrection
from engine.quantise.clipping import OutputClipping
from engine.quantise.equalise import Equalise
from engine.quantise.promote import Promote
from engine.quantise.rounding import LayerwiseRounding
from engine.quantise.smooth import Smooth
from engine.quantise.step import Step
from engine.quantise.weights import WeightScales

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "smooth": Smooth(),
        "equalise": Equalise(),
        "weights": WeightScales(),
        "bias": BiasCorrection(),
        "clipping": OutputClipping(),
        "rounding": LayerwiseRounding(),
        "promote": Promote(),
    }
)
"""By the name that reports and the command line use."""

_BALANCED = ("smooth", "equalise", "clipping", "weights", "bias", "rounding")

_BEST = (*_BALANCED, "promote")

PRESETS: Mapping[str, tuple[str, ...]] = MappingProxyType({"fast": (), "balanced": _BALANCED, "best": _BEST})
"""The steps of each preset, in their order; each begins with all steps of the one before it."""
