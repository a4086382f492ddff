"""Secrets that stand in files of their own, read once when the configuration is loaded."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from spotd.settings.checks import is_one_word
from spotd.settings.document import why
from spotd.settings.files import FileTooLarge, read_regular

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
        found = read_regular(path, most_bytes=LARGEST_TOKEN_BYTES)
    except OSError as error:
        raise TokenFileError(f"{path} cannot be read: {why(error)}") from None
    except FileTooLarge:
        raise TokenFileError(f"{path} is too large for a token") from None
    try:
        token = is_one_word(SecretStr(found.content.decode("ascii").rstrip("\r\n")))
    except UnicodeDecodeError:
        raise TokenFileError(f"{path} is not ASCII text") from None
    except ValueError as error:
        raise TokenFileError(f"{path} {error}") from None
    return TokenFile(token, path, found.is_world_readable)
