"""Volumes: cases of one NIfTI file or DICOM series, trained on patches of one size and judged as a whole."""
