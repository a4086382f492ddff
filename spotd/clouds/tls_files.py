"""Certificates that a person names, looked into at once: TLS fails at them late and without their names."""

import ssl
from pathlib import Path


def why_no_ca(path: Path) -> str | None:
    """Why this is no bundle of CAs, in words that follow its name; None where it is one, or a directory."""
    try:
        if not path.is_dir():
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return "holds no certificate"
    except (OSError, ValueError) as error:
        return _unreadable(error)
    return None


def why_no_file(path: Path) -> str | None:
    """Why it cannot be read, in words that follow its name; None where it can."""
    try:
        path.read_bytes()
    except (OSError, ValueError) as error:
        return _unreadable(error)
    return None


def _unreadable(error: Exception) -> str:
    return f"cannot be read: {(getattr(error, 'strerror', None) or 'not a path').lower()}"
