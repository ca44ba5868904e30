"""Cycles of a product on a systolic array, in closed form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.simulate.work import Product
from engine.target.target import Dataflow, Target


@dataclass(frozen=True)
class SystolicArray:
    """One core's array: ``rows`` by ``columns`` multiply-accumulates a cycle."""

    rows: int
    columns: int
    dataflow: Dataflow

    @staticmethod
    def of(target: Target) -> SystolicArray | None:
        """The array of a target that describes one; None for a target of alignments."""
        mac = target.mac
        if mac.dataflow is None or mac.rows is None or mac.columns is None:
            return None
        return SystolicArray(int(mac.rows.value), int(mac.columns.value), mac.dataflow)

    @property
    def size(self) -> int:
        return self.rows * self.columns

    def cycles(self, product: Product) -> int:
        """Cycles of all groups of a product, one after the other."""
        return product.groups * CYCLES[self.dataflow](product, self.rows, self.columns)


CyclesFunction = Callable[[Product, int, int], int]
"""(one group of a product, rows, columns) -> cycles."""


def _weight_stationary(product: Product, rows: int, columns: int) -> int:
    """(2R + C + M - 2) · ⌈K/R⌉ · ⌈N/C⌉ for [M, K] times [K, N], with K the input channels under all taps.

    A tile of R by C weights is loaded in R cycles; then M positions pass through R rows and C columns, which takes
    R + C + M - 2 cycles. The formula is that of SCALE-Sim (Samajdar et al., 2018).
    """
    depth = product.input_channels * product.taps
    return (2 * rows + columns + product.positions - 2) * -(-depth // rows) * -(-product.output_channels // columns)


CYCLES: dict[Dataflow, CyclesFunction] = {Dataflow.WEIGHT_STATIONARY: _weight_stationary}
"""Dataflow to the closed form of its cycles."""
