"""Building blocks that several rooms share; knows numpy and torch only."""
