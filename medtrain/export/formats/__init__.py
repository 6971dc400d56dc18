"""One file a format: how a network is written; `medtrain.export.runtime.network_FORMAT` runs it."""
