"""Branch and bound on the unstable core."""
