"""`rlbench reproduce`: measures what a claim needs, and writes figure, data and verdict."""
