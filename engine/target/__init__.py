"""Chip descriptions from TOML, and the rules that say what a chip computes and in which precision."""
