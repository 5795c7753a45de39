"""What to run: TOML, no code."""
