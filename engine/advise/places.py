"""Which places matter: units ranked by what they cost at the output, as many as explain most of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.advise.causes import causes_of
from engine.advise.remedies import Site
from engine.analyze.errors import interval_of
from engine.analyze.evaluator import Sample, Watch
from engine.analyze.metrics import ErrorSums
from engine.reports_advice import Diagnosis
from engine.session import Session

EXPLAINED = 0.9
"""Of the error that units add: places are taken until they make up so much of it."""

MOST_PLACES = 12


@dataclass(frozen=True)
class Place:
    """A unit that matters, its share of what all units add, and the error that it adds, a sample each."""

    site: Site
    share: float | None
    added: tuple[ErrorSums, ...]

    def diagnose(self, sample: Sample) -> Diagnosis:
        """What is known of it, with the causes as seen on a sample (that of the first sums)."""
        resolution = self.site.session.resolve()
        return Diagnosis(
            node=self.site.unit.anchor,
            op_type=self.site.node.op.type_name,
            effective=resolution.effective[self.site.unit.anchor].precision.value,
            share=self.share,
            introduced_db=interval_of([sums.sqnr_db for sums in self.added]),
            causes=causes_of(self.site, sample, self.added[0] if self.added else None),
        )


def add_introduced(found: dict[str, list[ErrorSums]], session: Session, sample: Sample, cancelled: Watch) -> None:
    """Add what each unit adds by itself on one more sample. Raises Cancelled."""
    for unit, sums in session.evaluator.introduced(session.program(), sample, cancelled).items():
        found.setdefault(unit, []).append(sums)


def places_of(
    session: Session, added: Mapping[str, Sequence[ErrorSums]], only: Sequence[str] = (), most: int = MOST_PLACES
) -> tuple[Place, ...]:
    """The units that matter, the worst first, ``most`` at the most; with ``only`` (node ids) the units of these
    nodes, all of them."""
    units = session.resolve().unit_of
    weights = {unit: _noise(sums) for unit, sums in added.items()}
    total = math.fsum(weights.values()) or 1.0
    wanted = dict.fromkeys(units[node].anchor for node in only)
    ranked = sorted(wanted or weights, key=lambda unit: -weights.get(unit, 0.0))
    chosen: list[Place] = []
    explained = 0.0
    for anchor in ranked:
        if not wanted and (explained >= EXPLAINED or len(chosen) == most or not weights[anchor]):
            break
        share = weights.get(anchor, 0.0) / total
        explained += share
        chosen.append(Place(Site(session, units[anchor]), share, tuple(added.get(anchor, ()))))
    return tuple(chosen)


def _noise(sums: Sequence[ErrorSums]) -> float:
    """Noise over signal that a unit adds, in the mean over samples."""
    ratios = [item.error_squared / item.reference_squared for item in sums if item.reference_squared > 0.0]
    return math.fsum(ratios) / len(ratios) if ratios else 0.0
