"""Segmentation of volumes: a label for each voxel, on the file's own grid."""
