"""Demo models, their samples and their recipe."""
