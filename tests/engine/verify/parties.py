"""Which of the programs that confirm our results are here."""

from __future__ import annotations

import pytest

from engine.verify.tosa_reference import reference_version

needs_tosa = pytest.mark.skipif(
    not reference_version(), reason="the TOSA reference model is not installed: make conformance"
)
