"""Pseudonyms: the same for the same patient and key, made with a key that is nobody else's."""

from __future__ import annotations

import hashlib
import hmac
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from medtrain.core.errors import MedtrainError
from medtrain.io.pseudonym import hash_key, key_file, pseudonym


def test_a_key_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("MEDTRAIN_HASH_KEY", "Jefe")
    # RFC 4231, test case 2
    assert pseudonym("what do ya want for nothing?") == "p5bdcc146bf60754e"
    assert pseudonym(" 42 ") == pseudonym("42") != pseudonym("43")
    assert not any(tmp_path.iterdir())


def test_a_key_file_is_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("MEDTRAIN_HASH_KEY", raising=False)
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: hash_key(), range(16)))
    assert len(keys) == 1 and len(keys.pop()) == 64
    assert stat.S_IMODE(key_file().stat().st_mode) == 0o600
    expected = hmac.new(key_file().read_bytes().strip(), b"42", hashlib.sha256).hexdigest()[:16]
    assert pseudonym("42") == f"p{expected}"
    assert sorted(p.name for p in key_file().parent.iterdir()) == [".hash_key.lock", "hash_key"]


def test_no_place_for_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MEDTRAIN_HASH_KEY", raising=False)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(MedtrainError, match="MEDTRAIN_HASH_KEY"):
        pseudonym("42")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    key_file().parent.mkdir()
    key_file().write_text("\n")
    with pytest.raises(MedtrainError, match="empty"):
        pseudonym("42")
