"""Outliers of norms folded away: the channels behind a LayerNorm or RMSNorm made alike, and centred.

SmoothQuant (Xiao et al. 2022, arXiv:2211.10438) multiplies the weight and bias of a norm and divides the weights of the
layers that read it; its alpha is chosen for each norm by the error of these layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.plan.types import Plan
from engine.quantise.equalise import of_norms, rebalanced
from engine.quantise.step import Work

if TYPE_CHECKING:
    from engine.session import Session


@dataclass(frozen=True)
class Smooth:
    """See the module."""

    title: str = "Fold outliers of norms into the layers behind"

    def __call__(self, session: Session, work: Work) -> Plan:
        """A plan with the folded model; the session's own where nothing gains."""
        return rebalanced(session, work, of_norms, kind="smooth", title="outliers behind {} norms folded away")
