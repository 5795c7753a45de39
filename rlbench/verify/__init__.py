"""`rlbench verify`: whether run directories and sweeps are what was written. Imports no jax."""
