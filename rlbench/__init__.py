"""rlbench: evolution strategies and RL on identical environments under a shared budget."""

__version__ = "0.1.0"
