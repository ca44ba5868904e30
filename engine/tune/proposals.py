"""Plans worth measuring next: guessed from what was measured, costed by the estimator, drawn by a seed."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from engine.tune.archive import Archive, Found
from engine.tune.front import Costs, reachable_loss
from engine.tune.space import AS_PLANNED, Genome, Space
from engine.tune.surrogate import AdditiveModel

if TYPE_CHECKING:
    from engine.session import Session

_NOISE_SPREAD = 0.1
_LATENCY_SPREAD = 0.02
_PRICES = 24
"""Prices of a microsecond at which the best plan of the additive model is taken."""

_CURIOSITY = 0.4
"""Share of the picked plans that are drawn, and not the most promising."""

_NEAR = 0.05
"""How far behind the front a drawn plan may be guessed, in log10: half a decibel."""

_MOST_SEGMENT = 12
_OUTSIDE_FRONT = 0.02
"""What a plan that is cheaper than all of the front gains on top of its guessed loss, in log10."""

Proposal = tuple[Genome, str]


class Costing:
    """Latency and DDR traffic of plans before they are measured.

    At the project's own compiler options both are the estimator's, exact. At level O3, whose search takes long, they
    are those of the nearest plan that was measured at O3, and what the difference costs at the project's options.
    """

    def __init__(self, session: Session, space: Space) -> None:
        self._session = session
        self._space = space
        self._known: dict[Genome, tuple[float, float]] = {}

    def plain(self, genome: Genome) -> tuple[float, float]:
        """Latency in ms and DDR bytes with the project's compiler options."""
        key = self._plain_key(genome)
        found = self._known.get(key)
        if found is None:
            timing = self._session.with_plan(self._space.plan(key)).estimate()
            found = self._known[key] = (timing.latency_ms, float(timing.ddr_bytes))
        return found

    def of(self, genome: Genome, archive: Archive) -> tuple[float, float]:
        """Latency in ms and DDR bytes of a plan."""
        plain = self.plain(genome)
        if genome[-1] == AS_PLANNED:
            return plain
        alike = [found for found in archive.usable if found.genome[-1] == genome[-1]]
        if not alike:
            return plain
        units = len(self._space.units)
        nearest = min(alike, key=lambda found: (_distance(found.genome[:units], genome[:units]), found.number))
        before = self.plain(nearest.genome)
        return (
            max(0.0, nearest.costs[1] + plain[0] - before[0]),
            max(0.0, nearest.costs[2] + plain[1] - before[1]),
        )

    @property
    def known(self) -> Sequence[tuple[Genome, tuple[float, float]]]:
        """All that was asked of the estimator so far."""
        return list(self._known.items())

    def _plain_key(self, genome: Genome) -> Genome:
        """Only units and the compiler's options cost anything: range methods change scales."""
        units = len(self._space.units)
        return (*genome[:units], *(AS_PLANNED,) * (len(genome) - units))


def _distance(a: Genome, b: Genome) -> int:
    return sum(x != y for x, y in zip(a, b, strict=True))


class Proposer:
    """Draws plans around a front, and picks those that promise to move it."""

    def __init__(self, space: Space, costing: Costing, seed: int, fits: Callable[[float, float], bool]) -> None:
        self._space = space
        self._costing = costing
        self._random = random.Random(seed)
        self._fits = fits
        self._noise = AdditiveModel(space.sizes, _NOISE_SPREAD)
        self._latency = AdditiveModel(space.sizes, _LATENCY_SPREAD)
        self._pool = max(48, min(192, 12_000 // max(1, len(space.units))))

    def learn(self, archive: Archive) -> None:
        """Fit the models to what is known."""
        usable = archive.usable
        genomes = [(*self._space.accuracy_part(found.genome), AS_PLANNED) for found in usable]
        self._noise.fit(genomes, [10.0 ** found.costs[0] for found in usable])
        costed = self._costing.known
        self._latency.fit([genome for genome, _ in costed], [costs[0] for _, costs in costed])

    def pick(self, archive: Archive, count: int) -> list[Proposal]:
        """The ``count`` most promising of a pool of drawn plans, none of which was measured; fewer where there are no
        more. Each is judged as if those before it had turned out as guessed, so that they spread along the front."""
        candidates: dict[Genome, str] = {}
        for genome, origin in self._drawn(archive):
            if archive.get(genome) is None:
                candidates.setdefault(genome, origin)
            if len(candidates) >= self._pool:
                break
        guesses: dict[Genome, Costs] = {}
        for genome in candidates:
            costs = self._costing.of(genome, archive)
            if self._fits(*costs):
                loss = math.log10(self._noise.guess((*self._space.accuracy_part(genome), AS_PLANNED)))
                guesses[genome] = (loss, *costs)
        front = [found.costs for found in archive.front]
        picked: list[Genome] = []
        while guesses and len(picked) < count - round(_CURIOSITY * count):
            genome = max(guesses, key=lambda item: (_promise(front, guesses[item]), item))
            front.append(guesses.pop(genome))
            picked.append(genome)
        # The model is wrong somewhere, and learns it only where it is asked: some plans near the front are drawn.
        near = sorted(genome for genome, guess in guesses.items() if _promise(front, guess) > -_NEAR)
        picked += self._random.sample(near, min(count - len(picked), len(near)))
        return [(genome, candidates[genome]) for genome in picked]

    def _drawn(self, archive: Archive) -> Iterator[Proposal]:
        """Plans of the additive model first, then changes of front members without end (but for a bound)."""
        yield from self._hull()
        front = sorted(archive.front, key=lambda found: (found.costs[1], found.number))
        moves = (self._flip, self._swap, self._segment, self._cross, self._compiler, self._flip)
        for turn in range(20 * self._pool):
            parent = self._random.choice(front)
            yield moves[turn % len(moves)](parent.genome, front), f"search from {parent.number}"

    def _hull(self) -> Iterator[Proposal]:
        """For each price of a microsecond, the best option of every decision by itself."""
        space = self._space
        spans = [
            (abs(self._noise.share(place, option)), abs(self._latency.share(place, option)))
            for place, size in enumerate(space.sizes[:-1])
            for option in range(1, size)
        ]
        rates = [noise / latency for noise, latency in spans if noise > 0 and latency > 1e-9]
        low, high = (min(rates), max(rates)) if rates else (1.0, 1.0)
        for step in range(_PRICES):
            price = low * (high / low) ** (step / (_PRICES - 1))
            genome = tuple(self._cheapest(place, size, price) for place, size in enumerate(space.sizes[:-1]))
            for option in range(space.sizes[-1]):
                yield (*genome, option), "additive model"

    def _cheapest(self, place: int, size: int, price: float) -> int:
        def cost(option: int) -> float:
            return self._noise.share(place, option) + price * self._latency.share(place, option)

        return min(range(size), key=lambda option: (cost(option), option))

    def _flip(self, genome: Genome, front: Sequence[Found]) -> Genome:
        """Another option for one to three decisions."""
        changes = {place: self._other(place, genome[place]) for place in self._places(self._random.randint(1, 3))}
        return self._space.changed(genome, changes)

    def _swap(self, genome: Genome, front: Sequence[Found]) -> Genome:
        """Two units exchange their types."""
        units = self._space.units
        wide = [place for place, unit in enumerate(units) if unit.dtypes[genome[place]] != "int8"]
        narrow = [place for place, unit in enumerate(units) if unit.dtypes[genome[place]] == "int8"]
        if not wide or not narrow:
            return self._flip(genome, front)
        down, up = self._random.choice(wide), self._random.choice(narrow)
        return self._space.changed(genome, {down: units[down].option_of("int8"), up: units[up].option_of("int16")})

    def _segment(self, genome: Genome, front: Sequence[Found]) -> Genome:
        """One type for units that follow each other: no seams between them."""
        units = self._space.units
        if not units:
            return self._flip(genome, front)
        start = self._random.randrange(len(units))
        end = min(len(units), start + self._random.randint(2, _MOST_SEGMENT))
        dtype = self._random.choice(("int8", "int16"))
        return self._space.changed(genome, {place: units[place].option_of(dtype) for place in range(start, end)})

    def _cross(self, genome: Genome, front: Sequence[Found]) -> Genome:
        """A stretch of the graph, or single decisions, from another member of the front."""
        other = self._random.choice(front).genome
        units = len(self._space.units)
        if self._random.random() < 0.5 and units:
            cut, end = sorted((self._random.randrange(units), self._random.randrange(units)))
            return (*genome[:cut], *other[cut:end], *genome[end:])
        return tuple(self._random.choice(pair) for pair in zip(genome, other, strict=True))

    def _compiler(self, genome: Genome, front: Sequence[Found]) -> Genome:
        """Other options of the compiler."""
        place = self._space.compiler_place
        if self._space.sizes[place] < 2:
            return self._flip(genome, front)
        return self._space.changed(genome, {place: self._other(place, genome[place])})

    def _places(self, count: int) -> list[int]:
        open_places = [place for place, size in enumerate(self._space.sizes) if size > 1]
        return self._random.sample(open_places, min(count, len(open_places)))

    def _other(self, place: int, option: int) -> int:
        return self._random.choice([other for other in range(self._space.sizes[place]) if other != option])


def _promise(front: Sequence[Costs], guess: Costs) -> float:
    """By how much a guessed point lowers the loss that is to be had for its costs, in log10; negative for one that is
    dominated."""
    reached = reachable_loss(front, guess[1], guess[2])
    if reached is None:
        return max(costs[0] for costs in front) - guess[0] + _OUTSIDE_FRONT
    return reached - guess[0]
