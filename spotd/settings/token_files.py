"""Secrets that stand in files of their own, read once when the configuration is loaded."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from spotd.settings.checks import is_one_word
from spotd.settings.document import why

LARGEST_TOKEN_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class TokenFile:
    """A secret, and whether everyone on the machine may read its file."""

    token: SecretStr
    path: Path
    is_world_readable: bool


class TokenFileError(Exception):
    """The file gives no secret; the text completes "KEY: …" and never holds the content."""


def resolve_token_file(path: Path, config_file: Path | None, environ: Mapping[str, str]) -> Path:
    """Where a relative path leads: `$CREDENTIALS_DIRECTORY` under systemd, else beside the configuration."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory:
        return Path(directory) / path
    return config_file.parent / path if config_file else path


def read_token_file(path: Path) -> TokenFile:
    """The secret without its trailing newline.

    Raises:
        TokenFileError: the file cannot be read, is empty, or holds more than one word.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_TOKEN_BYTES + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise TokenFileError(f"{path} cannot be read: {why(error)}") from None
    if len(content) > LARGEST_TOKEN_BYTES:
        raise TokenFileError(f"{path} is too large for a token")
    try:
        token = is_one_word(SecretStr(content.decode("ascii").rstrip("\r\n")))
    except UnicodeDecodeError:
        raise TokenFileError(f"{path} is not ASCII text") from None
    except ValueError as error:
        raise TokenFileError(f"{path} {error}") from None
    return TokenFile(token, path, bool(mode & stat.S_IROTH))
