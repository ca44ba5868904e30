"""The engines of the chip over the time of a frame."""
