"""Speed, start-up and memory, measured as ratios side by side: `rlbench bench`."""
