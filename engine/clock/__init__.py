"""The clock: the event model that runs a schedule, and the time of every node of a compiled model."""
