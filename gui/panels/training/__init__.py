"""Training with the integer program in the loop."""
