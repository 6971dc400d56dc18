"""Compose, check, build, record: the only room that knows Hydra."""
