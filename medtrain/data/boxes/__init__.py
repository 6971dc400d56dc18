"""Images with boxes: detection data in the usual layouts, as batches.

A batch is packed: ``x`` (B, C, H, W) uint8, or float32 in 0..1 where any file is deeper than 8 bit; ``boxes`` (M, 4)
float32 (x0, y0, x1, y1) in pixels of x; ``labels`` (M,) int64 from 0; ``image`` (M,) int64, the row in the batch of
each box, ascending; ``case`` (B,) int64; ``place`` (B, 4) float32 (sx, sy, tx, ty), where x_net = sx * x_file + tx;
``draw`` (B,) where a sampler repeats images; ``instance`` (B,), the number of the tile, where images are cut up.
"""
