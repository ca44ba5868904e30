"""Advice on accuracy: what costs most at the output and why, remedies tried on the spot, and are they enough."""
