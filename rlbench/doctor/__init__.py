"""`rlbench doctor`: what this machine can do, and what is known to go wrong here.

Imports no jax, but in a process of its own.
"""
