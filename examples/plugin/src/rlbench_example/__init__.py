"""A baseline and an environment for rlbench."""
