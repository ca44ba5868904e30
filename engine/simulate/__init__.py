"""Timing: the work of each operator, where its data lies, and how long the target's engines take over it."""
