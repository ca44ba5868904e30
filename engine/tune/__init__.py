"""Mixed precision search: a Pareto front over accuracy, latency and DDR traffic."""
