"""Training with the integer program in the loop: the forward pass is the program's, bit for bit."""
