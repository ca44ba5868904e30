"""Cost model of Arm's Ethos-U: units as passes of the engine over blocks, timed as Vela's estimate times them."""
