"""Service discovery: a file for each kind of registry, and what keeps their lists. Runs in the supervisor only."""
