"""Everything about the selected node: precision, error, latency, tensors and where it comes from."""
