"""Compilation: layout, fusion, residency, tiles, memory and schedule of a resolved graph on a target."""
