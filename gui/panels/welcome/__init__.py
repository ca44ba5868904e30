"""What shows while nothing is open."""
