"""Settings searched for, with the same trials and env steps for every algorithm. Imports no jax."""
