"""Claims of the EGGROLL paper (arXiv 2511.16652), each with its rule, figure and verdict. Imports
no jax.
"""
