"""The model's totals above the graph."""
