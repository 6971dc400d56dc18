"""`python -m medtrain`."""

import sys

from medtrain.cli import entry

if __name__ == "__main__":
    sys.exit(entry())
