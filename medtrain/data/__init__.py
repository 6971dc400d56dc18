"""From the files that users have to batches.

A `source` gives rows, `medtrain.io.store` gives content by path, and `batches` are made of both, with labels or
without.
"""
