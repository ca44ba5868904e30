"""What a task's figures are made of: numbers of each sample, from which figures and their intervals follow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks import pages

Numbers = NDArray[np.float64]
Values = NDArray[np.generic]

RESAMPLES = 1000


class Score(Protocol):
    """A task's figures. ``numbers`` gives some of each sample from the outputs of a batch that begins with sample
    ``first``; ``figures`` what follows from the numbers of all samples [n, k], by name."""

    def numbers(self, expected: Values, found: Values, first: int) -> Numbers: ...

    def figures(self, numbers: Numbers) -> Mapping[str, float]: ...


@dataclass(frozen=True)
class Figure:
    """A value and the 95 % interval of it over other samples of the kind (percentile bootstrap)."""

    name: str
    value: float
    low: float
    high: float


def figures_of(score: Score, numbers: Numbers) -> list[Figure]:
    """The figures of the samples, each with its interval."""
    choose = np.random.default_rng(0)
    drawn = [
        score.figures(numbers[choose.integers(0, len(numbers), len(numbers))]) for _ in range(RESAMPLES)
    ]
    found: list[Figure] = []
    for name, value in score.figures(numbers).items():
        low, high = np.nanpercentile([figures[name] for figures in drawn], [2.5, 97.5])
        found.append(Figure(name, value, float(low), float(high)))
    return found


def _energies(expected: Values, found: Values) -> Numbers:
    """Of each sample the sums of squares of the output and of its error, [n, 2]."""
    exact = np.asarray(expected, np.float64).reshape(len(expected), -1)
    error = exact - np.asarray(found, np.float64).reshape(len(expected), -1)
    return np.stack([(exact**2).sum(1), (error**2).sum(1)], 1)


def _decibels(numbers: Numbers) -> float:
    signal, noise = numbers[:, :2].sum(0)
    return float(10 * np.log10(signal / noise)) if noise > 0 else np.inf


@dataclass(frozen=True)
class OutputError:
    """SQNR of the outputs alone."""

    def numbers(self, expected: Values, found: Values, first: int) -> Numbers:
        return _energies(expected, found)

    def figures(self, numbers: Numbers) -> Mapping[str, float]:
        return {"SQNR dB": _decibels(numbers)}


@dataclass(frozen=True, eq=False)
class TopOne:
    """Top-1 of both and how often they agree, in percent; ``labels`` [n]."""

    labels: NDArray[np.int64]

    def numbers(self, expected: Values, found: Values, first: int) -> Numbers:
        truth = self.labels[first : first + len(expected)]
        best = [rows.reshape(len(expected), -1).argmax(1) for rows in (expected, found)]
        hits = [best[0] == truth, best[1] == truth, best[0] == best[1]]
        return np.concatenate([_energies(expected, found), np.stack(hits, 1)], 1)

    def figures(self, numbers: Numbers) -> Mapping[str, float]:
        before, after, agreed = 100 * numbers[:, 2:].mean(0)
        shares = {"float %": before, "integer %": after, "drop, points": before - after, "agreement %": agreed}
        return {**shares, "SQNR dB": _decibels(numbers)}


@dataclass(frozen=True, eq=False)
class Lines:
    """Exact lines and character errors of both, in percent; ``texts`` are the lines, ``ocr`` decodes and counts."""

    ocr: ModuleType
    alphabet: Sequence[str]
    texts: Sequence[str]

    def numbers(self, expected: Values, found: Values, first: int) -> Numbers:
        rows = [_energies(expected, found)]
        for output in (expected, found):
            read = self.ocr.decode(output, self.alphabet)
            wanted = self.texts[first : first + len(read)]
            scores = np.array([self.ocr.score([mine], [text]) for mine, text in zip(read, wanted, strict=True)])
            rows.append(scores * [[1, len(text)] for text in wanted])
        lengths = [len(text) for text in self.texts[first : first + len(expected)]]
        return np.concatenate([*rows, np.array(lengths, np.float64)[:, None]], 1)

    def figures(self, numbers: Numbers) -> Mapping[str, float]:
        exact, errors, exact8, errors8, length = numbers[:, 2:].mean(0)
        before, after = 100 * errors / length, 100 * errors8 / length
        return {
            "float exact %": 100 * exact,
            "exact %": 100 * exact8,
            "float CER %": before,
            "CER %": after,
            "CER increase, points": after - before,
            "SQNR dB": _decibels(numbers),
        }


@dataclass(frozen=True, eq=False)
class Pages:
    """Hmean of the boxes that both find; ``boxes`` are those of each page's lines."""

    boxes: Sequence[list[pages.Box]]

    def numbers(self, expected: Values, found: Values, first: int) -> Numbers:
        rows = [_energies(expected, found)]
        wanted = self.boxes[first : first + len(expected)]
        for output in (expected, found):
            seen = [pages.boxes_of(np.asarray(row, np.float32)[0]) for row in output]
            pairs = zip(seen, wanted, strict=True)
            rows.append(np.array([[pages.matches(mine, lines), len(mine)] for mine, lines in pairs], np.float64))
        return np.concatenate([*rows, np.array([[len(lines)] for lines in wanted], np.float64)], 1)

    def figures(self, numbers: Numbers) -> Mapping[str, float]:
        matched, seen, matched8, seen8, wanted = numbers[:, 2:].sum(0)
        before, after = pages.hmean(matched, seen, wanted), pages.hmean(matched8, seen8, wanted)
        found = {"float Hmean": before, "Hmean": after, "Hmean drop": before - after}
        return {**found, "SQNR dB": _decibels(numbers)}


@dataclass(frozen=True)
class HeatMaps:
    """Correlation of each heat map with the float model's."""

    def numbers(self, expected: Values, found: Values, first: int) -> Numbers:
        flat = [np.asarray(maps, np.float64).reshape(len(maps), -1) for maps in (expected, found)]
        alike = [[np.corrcoef(a, b)[0, 1]] for a, b in zip(*flat, strict=True)]
        return np.concatenate([_energies(expected, found), np.array(alike)], 1)

    def figures(self, numbers: Numbers) -> Mapping[str, float]:
        alike = numbers[:, 2]
        return {
            "mean correlation": float(alike.mean()),
            "worst correlation": float(alike.min()),
            "SQNR dB": _decibels(numbers),
        }
