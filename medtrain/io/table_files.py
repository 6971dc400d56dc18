"""A table's text, whatever file it stands in: CSV, packed or not, in UTF-8 or UTF-16; Excel and Parquet by pandas.

What a file is, its first bytes say, not its suffix.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pandas as pd

from medtrain.core.errors import DataError, UsageError
from medtrain.core.extras import extra
from medtrain.io.files import MOST_BYTES

SUFFIXES = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz", ".xlsx", ".parquet")
_GZIP, _ZIP, _PARQUET, _OLE = b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"\xd0\xcf\x11\xe0"
_BOMS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def is_table_name(path: Path) -> bool:
    """Tell by its name whether a file is a table."""
    return path.name.lower().endswith(SUFFIXES)


def table_text(path: Path, key: str) -> str:
    """Read a table as the text of a CSV.

    Args:
        key: of the configuration that names it, for the message.

    Raises:
        UsageError: it is in a format that is not read, has several sheets, or its reader is not installed.
        DataError: it is damaged, too large, or in an unknown encoding.
    """
    content = path.read_bytes() if path.stat().st_size <= MOST_BYTES else b""
    if content.startswith(_GZIP):
        content = _unpacked(path)
    if path.stat().st_size > MOST_BYTES or len(content) > MOST_BYTES:
        raise DataError(f"{path}: more than {MOST_BYTES / 1e9:.0f} GB of table; split it")
    if content.startswith(_PARQUET):
        return _parquet(path, content)
    if content.startswith(_ZIP):
        return _excel(path, content, key)
    if content.startswith(_OLE) or path.suffix.lower() in (".xls", ".ods", ".xlsx", ".parquet"):
        raise UsageError(f"{key}: {path.name} is a spreadsheet that is not read; save it as CSV (UTF-8) or .xlsx")
    encoding = next((name for bom, name in _BOMS.items() if content.startswith(bom)), "utf-8-sig")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        advice = f"iconv -f WINDOWS-1252 -t UTF-8 '{path.name}' > utf8.csv"
        raise DataError(
            f"{path} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8, or, if it is from Windows: {advice}"
        ) from None


def _unpacked(path: Path) -> bytes:
    try:
        with gzip.open(path) as file:
            return file.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is damaged: {error}") from None


def _parquet(path: Path, content: bytes) -> str:
    extra("pyarrow", f"reading {path.name}")
    try:
        frame = pd.read_parquet(io.BytesIO(content), engine="pyarrow")
    except Exception as error:  # pyarrow raises what it likes on broken files
        raise DataError(f"{path} is no Parquet file that can be read: {_line(error)}") from None
    return _as_csv(frame.reset_index() if any(frame.index.names) else frame)


def _excel(path: Path, content: bytes, key: str) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names, size = archive.namelist(), sum(entry.file_size for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise DataError(f"{path} is damaged: {_line(error)}") from None
    if "xl/workbook.xml" not in names:
        raise UsageError(f"{key}: {path.name} is an archive, or a spreadsheet that is not read; save it as CSV (UTF-8)")
    if size > MOST_BYTES:
        raise DataError(f"{path}: {size / 1e9:,.0f} GB once unpacked; save it as CSV")
    extra("openpyxl", f"reading {path.name}")
    options: dict[str, Any] = {"dtype": str, "keep_default_na": False, "na_filter": False, "engine": "openpyxl"}
    try:
        sheets = pd.read_excel(io.BytesIO(content), sheet_name=None, **options)
    except Exception as error:  # openpyxl raises what it likes on broken files
        raise DataError(f"{path} is no Excel file that can be read: {_line(error)}") from None
    filled = {str(name): sheet for name, sheet in sheets.items() if sheet.shape[1]}
    if len(filled) > 1:
        raise UsageError(f"{key}: {path.name} has several sheets ({', '.join(filled)}); save the one to use as a file")
    return _as_csv(next(iter(filled.values()))) if filled else ""


def _as_csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
