"""One store, by content: what was read from a file once is never read again, whoever asks and wherever the file lies.

A store is a folder for one form of one kind of content (pixels, voxels, features; a codec each). A file's path, size
and time lead to the hash of its content, and that to the place of what was made of it, or to the reason why nothing
could be: `index` finds, `segment` writes, `fill` reads what is missing, `lock` lets one process at a time do so.
"""
