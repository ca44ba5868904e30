"""How the error grows along the network."""
