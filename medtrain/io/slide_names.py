"""What files of whole slides are called."""

from __future__ import annotations

SLIDES = (
    ".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".dcm", ".czi",
)  # fmt: skip
PICTURES = (".png", ".jpg", ".jpeg", ".jp2", ".webp")  # slides as plain pictures
OTHERS = (".vsi", ".isyntax", ".zvi", ".lif", ".mds", ".kfb", ".zarr")  # of which others may have made bags
DOUBLE = (".ome",)  # before the ending proper


def slide_stems(name: str) -> list[str]:
    """List what is left of a slide's name without its ending: of S.ome.tiff S.ome and S; none where it has no such."""
    ending = next((ending for ending in (*SLIDES, *PICTURES, *OTHERS) if name.lower().endswith(ending)), None)
    if ending is None:
        return []
    stem = name[: -len(ending)]
    return [stem, *(stem[: -len(more)] for more in DOUBLE if stem.lower().endswith(more))]
