"""Distributions of a node's values, float and quantised."""
