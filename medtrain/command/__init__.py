"""One file a verb: read the configuration, build with it what the rooms below offer, print the outcome."""
