"""Remedies for accuracy with their gain and cost, and whether they are enough."""
