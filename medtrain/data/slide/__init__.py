"""Whole slides: tissue, tiles, and their features."""
