"""The shipped configuration: one folder a group, one file an option."""
