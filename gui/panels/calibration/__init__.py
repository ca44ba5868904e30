"""Calibration data, presets, and what each of their steps gains."""
