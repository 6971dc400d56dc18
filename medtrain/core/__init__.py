"""What several rooms share; knows numpy and torch only."""
