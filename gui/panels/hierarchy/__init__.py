"""The model's modules as a tree, each with its worst operator."""
