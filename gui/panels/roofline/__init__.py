"""How near each kernel is to the limits of the chip."""
