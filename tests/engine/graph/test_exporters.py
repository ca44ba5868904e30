"""Files of torch's older exporter; those of the others take longer, and are checked by ``make conformance``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conformance.exporters import check


@pytest.mark.parametrize("exporter", ["script11", "script20"])
def test_every_opset_gives_the_same_operators(exporter: str, tmp_path: Path) -> None:
    assert check(exporter, tmp_path) == []
