"""What ``quantscope targets fit`` prints and writes."""

from __future__ import annotations

import math

from engine.cli.output import print_table
from engine.fit.fitting import Errors, Fit, Judged
from engine.fit.parameters import PARAMETERS
from engine.target.edit import figure_at
from engine.target.target import Target

_KINDS = ("latency", "throughput", "layer")


def print_fit(fit: Fit, before: Target) -> None:
    """The figures, the rows, the families, and the errors of the whole."""
    paths = [path for parameter in PARAMETERS if parameter.name in fit.factors for path in parameter.figures]
    pairs = [(path, figure_at(before, path), figure_at(fit.target, path)) for path in paths]
    figures = [(path, f"{was.value:g}", f"{now.value:g}", now.unit) for path, was, now in pairs]
    print_table("figures", ("figure", "was", "fitted", "unit"), figures, numeric=(1, 2))
    rows = [_row(item) for item in fit.judged]
    columns = ("row", "model", "quantity", "measured µs", "before", "fitted", "without its family")
    print_table("estimates beside measurements", columns, rows, numeric=(0, 3, 4, 5, 6))
    families = [
        (family, kind, f"{errors.count}", f"{errors.mean:.1%}", f"{errors.largest:.1%}")
        for family in fit.families
        for kind in _KINDS
        if (errors := fit.errors(kind, _unseen, family)).count
    ]
    columns = ("family", "quantity", "rows", "mean", "largest")
    print_table("families that the fit has not seen", columns, families, numeric=(2, 3, 4))
    for kind in _KINDS:
        if fit.errors(kind, _unseen).count:
            for name, estimate in (("before", _before), ("fitted", _fitted), ("each family unseen", _unseen)):
                print(f"{kind}, {name}: {fit.errors(kind, estimate).text}")
    for item in fit.judged:
        if not item.quantity.counts:
            row = item.quantity.row
            print(f"left out of the fit: row {row.row}, throughput of {row.model}: {row.doubt}")


def record_of(fit: Fit) -> dict[str, object]:
    """The fit as plain data."""
    return {
        "target": fit.target.name,
        "factors": dict(fit.factors),
        "stated_error": fit.target.stated_error.text,
        "errors": {
            kind: {name: _errors(fit.errors(kind, estimate)) for name, estimate in _ESTIMATES.items()}
            for kind in _KINDS
            if fit.errors(kind, _unseen).count
        },
        "rows": [
            {
                "row": item.quantity.row.row,
                "model": item.quantity.row.model,
                "node": item.quantity.row.node,
                "family": item.quantity.row.family,
                "quantity": item.quantity.kind,
                "in_fit": item.quantity.counts,
                "measured_us": item.quantity.measured_us,
                "before_us": item.before_us,
                "fitted_us": item.fitted_us,
                "unseen_us": item.unseen_us,
            }
            for item in fit.judged
        ],
    }


def _row(item: Judged) -> tuple[str, ...]:
    quantity = item.quantity
    name = quantity.row.model if not quantity.row.node else f"{quantity.row.model}: {quantity.row.node}"
    off = (f"{us / quantity.measured_us - 1.0:+.1%}" for us in (item.before_us, item.fitted_us, item.unseen_us))
    return (f"{quantity.row.row}", name, quantity.kind, f"{quantity.measured_us:.1f}", *off)


def _errors(errors: Errors) -> dict[str, float | None]:
    rank = None if math.isnan(errors.rank) else errors.rank
    return {"count": errors.count, "mean": errors.mean, "largest": errors.largest, "spearman": rank}


def _before(item: Judged) -> float:
    return item.before_us


def _fitted(item: Judged) -> float:
    return item.fitted_us


def _unseen(item: Judged) -> float:
    return item.unseen_us


_ESTIMATES = {"before": _before, "fitted": _fitted, "unseen": _unseen}
