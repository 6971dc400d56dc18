"""Other names for the patients of DICOM headers: the same for one patient, useless without the key.

A plain hash of a patient number can be undone by trying all numbers; one with a secret key cannot.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from filelock import FileLock

from medtrain.core.errors import MedtrainError

KEY = "MEDTRAIN_HASH_KEY"


def pseudonym(identifier: str) -> str:
    """Make 'p' and 64 bits of the identifier's HMAC-SHA256 (RFC 2104), as hex.

    Raises:
        MedtrainError: there is no key, and none can be written.
    """
    return keyed(identifier, hash_key())


def keyed(identifier: str, key: bytes) -> str:
    """Make the pseudonym of an identifier by a key."""
    return "p" + hmac.new(key, identifier.strip().encode(), hashlib.sha256).hexdigest()[:16]


def hash_key() -> bytes:
    """Read MEDTRAIN_HASH_KEY, else the key file, made at its first use."""
    if named := os.environ.get(KEY):
        return named.encode()
    file = key_file()
    try:
        if not file.is_file():
            _make(file)
        key = file.read_bytes().strip()
    except OSError as error:
        raise MedtrainError(
            f"the key for patients of DICOM headers, {file}, cannot be read or written: {error.strerror}\n"
            f"set {KEY} to a secret text, or name a patient column"
        ) from None
    if not key:
        raise MedtrainError(f"the key for patients of DICOM headers, {file}, is empty; remove it, or set {KEY}")
    return key


def key_file() -> Path:
    """Name the file of the key: medtrain/hash_key in the user's configuration folder."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "medtrain" / "hash_key"


def _make(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.parent / ".hash_key.lock"):
        if file.is_file():
            return  # another process was first
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=".hash_key.")  # mode 0600
        try:
            with os.fdopen(handle, "w") as written:
                written.write(secrets.token_hex(32) + "\n")
                written.flush()
                os.fsync(written.fileno())
            os.replace(name, file)
        finally:
            Path(name).unlink(missing_ok=True)
