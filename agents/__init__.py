"""Baselines: one file each, and their settings as data."""
