"""A look-up table beside its function, and where its inputs lie."""
