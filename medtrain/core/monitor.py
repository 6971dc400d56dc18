"""The logged metric that tells epochs apart whose monitored metric is equal."""

LOSS = "val_loss"
