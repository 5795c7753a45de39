"""Many runs from one file: cells, who runs them, and what is left to do. Imports no jax."""
