"""Where and when work runs: planning, worker processes, the pool and the driver."""
