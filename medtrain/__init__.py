"""Train, test and explain medical imaging models from one command line."""

__version__ = "0.2.0"
