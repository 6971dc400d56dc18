"""Train, test and explain medical imaging models from one command line."""

__version__ = "0.1.0"
