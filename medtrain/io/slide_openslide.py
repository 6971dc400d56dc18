"""Levels of a slide as OpenSlide reads them: every format that it knows, one level-0 coordinate system.

OpenSlide wants level-0 coordinates at every level, premultiplies transparency, and after its first error refuses
everything else: what the rest of the house asks for are pixels of a level on white, and a handle that recovers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.core.extras import extra
from medtrain.io.files import why_no_file

CONVERT_DICOM = "gdcmconv --raw IN.dcm OUT.dcm"
WHITE = (255, 255, 255, 255)


def library() -> Any:
    """Import the module openslide.

    Raises:
        UsageError: it is not installed.
    """
    return extra("openslide", "reading slides")


class OpenSlideLevels:
    """The levels of one slide file; the handle is opened at the first read of a process and never pickled.

    Attributes:
        sizes: (width, height) of each level, in its own pixels.
        downsamples: of each level, against level 0.
        properties: what the file says of itself.

    Raises:
        ValueError: with a short reason, where OpenSlide cannot open the file.
    """

    name = "openslide"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: Any = None
        handle = self.handle
        self.sizes: list[tuple[int, int]] = [(int(w), int(h)) for w, h in handle.level_dimensions]
        self.downsamples: list[float] = [float(d) for d in handle.level_downsamples]
        self.properties: dict[str, str] = dict(handle.properties)

    @property
    def handle(self) -> Any:
        if self._handle is None:
            openslide = library()
            try:
                self._handle = openslide.OpenSlide(str(self.path))
            except openslide.OpenSlideUnsupportedFormatError:
                reason = why_no_file(self.path)
                here = self.path.is_file() and self.path.stat().st_size > 0
                raise ValueError("not a slide that OpenSlide can read" if here else reason) from None
            except openslide.OpenSlideError as error:
                hint = f"; convert its files: {CONVERT_DICOM}" * ("transfer syntax" in str(error))
                raise ValueError(f"cannot be opened as a slide: {error}{hint}") from None
        return self._handle

    def close(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    def read(self, level: int, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Read a region of a level, (height, width, 3), on white; what lies outside the slide is white.

        Where a level's downsample is no whole number, OpenSlide interpolates between its pixels.

        Args:
            x, y: in pixels of that level.

        Raises:
            ValueError: OpenSlide cannot decode it; the next read starts with a fresh handle.
        """
        downsample = self.downsamples[level]
        try:
            picture = self.handle.read_region((round(x * downsample), round(y * downsample)), level, (width, height))
        except library().OpenSlideError as error:
            self.close()  # an OpenSlide handle that failed once fails for ever
            raise ValueError(f"level {level} cannot be decoded at x={x}, y={y}: {error}") from None
        if picture.getchannel("A").getextrema() != (255, 255):
            picture = Image.alpha_composite(Image.new("RGBA", picture.size, WHITE), picture)
        return np.asarray(picture.convert("RGB"))
