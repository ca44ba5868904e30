"""Every post-training method by its name, and the presets made of them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from engine.quantise.bias import BiasCorrection
from engine.quantise.clipping import OutputClipping
from engine.quantise.enough import Enough
from engine.quantise.equalise import Equalise
from engine.quantise.promote import Budget, Promote
from engine.quantise.reconstruct import BlockReconstruction
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
        "promote": Promote(Budget(0.20, 1.05, enough=Enough(32.0, 0.01))),
        "promote_more": Promote(Budget(0.35, 1.25, enough=Enough(40.0, 0.002)), title="more int16 where it pays"),
        "reconstruct": BlockReconstruction(),
    }
)
"""By the name that reports and the command line use."""

INT8_STEPS = ("smooth", "equalise", "clipping", "weights", "bias", "rounding")
"""What leaves precisions as they are."""

_BALANCED = ("smooth", "equalise", "clipping", "weights", "bias", "promote", "rounding")
"""Precisions before rounded weights, which make up for what the others have lost. Promotion fits biases anew; without
any, mean errors may drown what it gains."""

_BEST = (*_BALANCED, "promote_more", "rounding", "reconstruct")

PRESETS: Mapping[str, tuple[str, ...]] = MappingProxyType({"fast": (), "balanced": _BALANCED, "best": _BEST})
"""The steps of each preset, in their order; each begins with all steps of the one before it."""
