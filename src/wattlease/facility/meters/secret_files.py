"""Secrets, read from their files each time they are used, so that a changed one needs no restart."""

from __future__ import annotations

import stat
from pathlib import Path

from wattlease.facility.meters.reading import Trouble

MAX_BYTES = 16384
"""Longer than any password or token."""


def secret(path: str) -> str | Trouble:
    """The file's text without the line end that editors add."""
    file = Path(path)
    try:
        if file.stat().st_mode & stat.S_IRWXO:
            return Trouble(f"{path}: everybody may read this secret", f"chmod o= {path} (in a pod: defaultMode 0440)")
        with file.open(encoding="utf-8") as opened:
            text = opened.read(MAX_BYTES).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        return Trouble(f"{path}: cannot be read: {why}", "write the secret there, and nothing else")
    return text or Trouble(f"{path}: is empty", "write the secret there, and nothing else")


def account(user_file: str | None, password_file: str | None) -> tuple[str, str] | Trouble | None:
    """User and password, `None` where none is meant."""
    if user_file is None or password_file is None:
        return None
    user, password = secret(user_file), secret(password_file)
    if isinstance(user, Trouble):
        return user
    return password if isinstance(password, Trouble) else (user, password)
