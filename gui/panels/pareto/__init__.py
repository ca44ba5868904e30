"""Fronts of plans, as a search finds them."""
