"""Integer segments compiled for Arm's Ethos-U by Vela, beside our own estimate."""
