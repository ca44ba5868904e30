"""Which places matter: units ranked by what the outputs feel of them, as many as explain most of the error there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from engine.advise.causes import causes_of
from engine.advise.remedies import Site
from engine.analyze.evaluator import Sample
from engine.quantise.causes import ChannelCauses
from engine.reports_advice import Diagnosis
from engine.reports_analysis import Attribution, Sensitivities
from engine.session import Session

EXPLAINED = 0.9
"""Of the noise at the outputs: places are taken until they make up so much of it."""

MOST_PLACES = 12


@dataclass(frozen=True)
class Place:
    """A unit that matters, and its share of the noise that all units by themselves bring to the outputs."""

    site: Site
    share: float

    @property
    def node(self) -> str:
        return self.site.unit.anchor

    def diagnose(self, attribution: Attribution, channels: ChannelCauses, sample: Sample) -> Diagnosis:
        """What is known of it: the error that it adds by cause, in words with the numbers of a sample."""
        return Diagnosis(
            node=self.node,
            op_type=self.site.node.op.type_name,
            effective=self.site.session.resolve().effective[self.node].precision.value,
            share=self.share,
            introduced_db=attribution.introduced_db,
            causes=causes_of(self.site, sample, attribution, channels),
        )


def places_of(
    session: Session, found: Sensitivities, only: Sequence[str] = (), most: int = MOST_PLACES
) -> tuple[Place, ...]:
    """The units that matter, the worst first, ``most`` at the most; with ``only`` (node ids) the units of these
    nodes, all of them."""
    units = session.resolve().unit_of
    noise: Mapping[str, float] = {units[node.id].anchor: node.noise for node in found.nodes}
    total = math.fsum(noise.values()) or 1.0
    wanted = dict.fromkeys(units[node].anchor for node in only)
    chosen: list[Place] = []
    explained = 0.0
    for anchor in sorted(wanted or noise, key=lambda unit: -noise.get(unit, 0.0)):
        if not wanted and (explained >= EXPLAINED or len(chosen) == most or not noise[anchor]):
            break
        share = noise.get(anchor, 0.0) / total
        explained += share
        chosen.append(Place(Site(session, units[anchor]), share))
    return tuple(chosen)
