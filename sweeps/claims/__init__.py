"""What `rlbench reproduce` measures: TOML, no code."""
