"""Tests, laid out as engine/ and gui/ are; benchmarks print figures and are run by hand."""
