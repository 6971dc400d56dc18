"""What colours a JPEG or JPEG 2000 stream holds, whatever the file around it says of them.

Writers copy the photometric interpretation from the picture that they were given, or forget to change it, so that a
stream of YCbCr calls itself RGB, or the other way round. The stream is what a decoder sees.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SOI = b"\xff\xd8"
JFIF, ADOBE, DQT, SOS = 0xE0, 0xEE, 0xDB, 0xDA
HEADER = frozenset([*range(0xC0, 0xD0), *range(0xDA, 0xE0), *range(0xE0, 0xF0), 0xF7, 0xF8, 0xFE])  # what has a length
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
DHT, SOF3, SOF55 = 0xC4, 0xC3, 0xF7  # tables; frames of JPEG lossless and JPEG-LS
MOST_DIFFERENCE = 16  # bits of a difference that lossless JPEG codes
J2K_SOC, J2K_SIZ, J2K_COD, J2K_SOT = b"\xff\x4f", b"\xff\x51", 0x52, 0x90
PLAIN = 0.2  # cosine between the edges of two planes below which they are no red, green and blue of one picture
ALIKE = 0.8  # and above which they are
FAINT = 0.6  # strength of edges, by that of the first plane, below which planes may be chroma


def decode_colours(stream: bytes, says_rgb: bool) -> tuple[NDArray[np.uint8], bool]:
    """Decode a JPEG of 8 bits and three components.

    Args:
        says_rgb: what the file says that the stream holds, rather than YCbCr.

    Returns:
        (H, W, 3) RGB; and whether the stream holds RGB, which may be otherwise.

    Raises:
        ValueError, OSError: it cannot be decoded, or has other components.
    """
    holds = _evidence(stream)
    if holds is None:
        holds = _by_content(_decode(stream, transformed=False), says_rgb)
    return _decode(stream, transformed=not holds), holds


def check_jpeg(stream: bytes, shape: tuple[int, int, int], bits: int) -> None:
    """Refuse a JPEG, of any process, whose frame or tables are damaged: GDCM would bring the whole program down.

    Args:
        shape: rows, columns and components that it must have.
        bits: the most that its samples may have.

    Raises:
        ValueError: it is damaged, or a picture of another shape.
    """
    segments = [(marker, content) for marker, _, content in _segments(stream)]
    heads = [(marker, content) for marker, content in segments if marker in FRAMES or marker == SOF55]
    if len(heads) != 1 or segments[-1][0] != SOS or len(segments[-1][1]) != 4 + 2 * shape[2]:
        raise ValueError("a damaged header")
    process, head = heads[0]
    rows, columns = (int.from_bytes(head[start : start + 2], "big") for start in (1, 3))
    if len(head) != 6 + 3 * shape[2] or (rows, columns, head[5]) != shape or not 2 <= head[0] <= bits:
        raise ValueError("another shape than the header has")
    for marker, content in segments:
        if marker not in HEADER:
            raise ValueError("what is no header")
        if marker == DHT:
            _check_tables(content, MOST_DIFFERENCE if process == SOF3 else 255)
        if marker == JFIF and content[:4] == b"JFIF" and content[5:6] != b"\x01":
            raise ValueError("JFIF of another version")
        if marker == ADOBE and content[:5] == b"Adobe" and content[11:12] not in (b"\x00", b"\x01", b"\x02"):
            raise ValueError("unknown colours")


def check_j2k(stream: bytes, shape: tuple[int, int, int], bits: int) -> None:
    """Refuse a JPEG 2000 stream of another form (SIZ) than the header's: a decoder may work for hours, or fall.

    Args:
        shape, bits: as of `check_jpeg`.

    Raises:
        ValueError: it is one.
    """
    start = stream.find(J2K_SOC + J2K_SIZ)
    if start < 0 or len(stream) < start + 42:
        raise ValueError("a damaged header")
    right, bottom, left, top = struct.unpack_from(">4I", stream, start + 8)
    (components,) = struct.unpack_from(">H", stream, start + 40)
    depths = stream[start + 42 : start + 42 + 3 * shape[2] : 3]  # less 1, and the highest bit is a sign
    if (bottom - top, right - left, components) != shape or any(depth & 0x7F >= bits for depth in depths):
        raise ValueError("another shape than the header has")


def _check_tables(content: bytes, most: int) -> None:
    """Refuse Huffman tables that are cut short, have more codes of a length than there are, or values above `most`."""
    while content:
        counts, values = content[1:17], content[17 : 17 + sum(content[1:17])]
        if len(values) < sum(counts) or not values or max(values) > most:
            raise ValueError("a damaged Huffman table")
        if sum(count / 2**length for length, count in enumerate(counts, start=1)) > 1:
            raise ValueError("a damaged Huffman table")
        content = content[17 + len(values) :]


def is_mixed(stream: bytes) -> bool:
    """Tell whether a JPEG 2000 stream mixes its components (SGcod of COD), so that a decoder gives RGB of it."""
    start = stream.find(J2K_SOC) + 2
    while 2 <= start <= len(stream) - 10 and stream[start] == 0xFF:
        marker, length = stream[start + 1], int.from_bytes(stream[start + 2 : start + 4], "big")
        if marker == J2K_COD:
            return stream[start + 8] == 1
        if marker == J2K_SOT:
            break
        start += 2 + length
    return False


def _segments(stream: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield (marker, start, content) of the segments before the first scan."""
    start = len(SOI)
    while start <= len(stream) - 4 and stream[start] == 0xFF:
        if stream[start + 1] == 0xFF:  # fill
            start += 1
            continue
        length = int.from_bytes(stream[start + 2 : start + 4], "big")
        yield stream[start + 1], start, stream[start + 4 : start + 2 + length]
        if stream[start + 1] == SOS:
            return
        start += 2 + length


def _evidence(stream: bytes) -> bool | None:
    """Tell by its markers whether a stream holds RGB (True) or YCbCr (False); None where they don't say.

    Adobe's marker says it; JFIF is always YCbCr; so is what is subsampled or quantised apart (an encoder of RGB treats
    its planes alike); and components may be named R, G, B.
    """
    jfif, holds = False, None
    for marker, _, content in _segments(stream):
        if marker == ADOBE and content[:5] == b"Adobe" and len(content) >= 12:
            return content[11] == 0
        jfif = jfif or (marker == JFIF and content[:4] == b"JFIF")
        if marker in FRAMES and len(content) >= 15:
            names, sampling, tables = (content[6 + offset : 15 : 3] for offset in range(3))
            if names == b"RGB":
                holds = True
            elif len(set(sampling)) > 1 or tables[0] != tables[1]:
                holds = False
    return False if jfif else holds


def _by_content(planes_HW3: NDArray[np.uint8], says_rgb: bool) -> bool:
    """Judge by the picture where markers are silent: what the file says, unless the planes contradict it plainly.

    Red, green and blue have their edges at the same places, in the same direction; chroma has few, and others.
    """
    edges = np.diff(planes_HW3.astype(np.float32), axis=1).reshape(-1, 3)
    strength = np.sqrt((edges**2).mean(0))
    if strength.min() == 0:  # grey as YCbCr has two flat planes, in the middle
        grey = (strength[1:] == 0).all() and (np.abs(planes_HW3[0, 0, 1:].astype(int) - 128) <= 2).all()
        return says_rgb and not grey
    alike = (edges[:, 1:] * edges[:, :1]).mean(0) / (strength[1:] * strength[0])
    if says_rgb:
        return not ((alike < PLAIN).all() and (strength[1:] < FAINT * strength[0]).all())
    return bool((alike > ALIKE).all() and (strength[1:] > strength[0] / 2).all())


def _decode(stream: bytes, transformed: bool) -> NDArray[np.uint8]:
    """Decode a stream as one that holds YCbCr (`transformed`) or else RGB: with Adobe's marker in place of others."""
    plain = bytearray(SOI + b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00" + bytes([transformed]))
    start = len(SOI)
    for marker, place, content in _segments(stream):
        if marker == SOS:
            plain += stream[place:]
            break
        if marker not in (JFIF, ADOBE):
            plain += stream[place : place + 4 + len(content)]
        start = place + 4 + len(content)
    else:
        plain += stream[start:]
    with Image.open(io.BytesIO(plain), formats=("JPEG",)) as image:
        if image.mode != "RGB":
            raise ValueError("not three components")
        return np.asarray(image)
