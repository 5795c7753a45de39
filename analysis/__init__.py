"""Views of recorded runs: reads run directories only, and never imports jax."""
