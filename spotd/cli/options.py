"""Options that several commands share, and how a configuration is read for them."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from spotd.cli.printing import line
from spotd.clouds.errors import CloudError, Failure
from spotd.logs import configure_logging, log_uncaught_exceptions, mask_text, priority_prefix, register_secret
from spotd.settings import ConfigurationError, LoadedSettings, Settings, load_settings, secret_values
from spotd.settings.checks import is_listen_address
from spotd.store.errors import StoreError, StoreUnusable

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_FAILED = 1
EXIT_USAGE = 2

LEVELS = click.Choice(["debug", "info", "warning", "error"])
FORMATS = click.Choice(["auto", "console", "json", "journald"])


def config_option(command: Command) -> Command:
    """`--config.file`."""
    return click.option(
        "--config.file",
        "config_file",
        type=click.Path(path_type=Path),
        envvar="SPOTD_CONFIG_FILE",
        help="YAML configuration; every key can also come from the environment as SPOTD_GROUP__KEY.",
    )(command)


def log_options(command: Command) -> Command:
    """`--log.level` and `--log.format`."""
    command = click.option(
        "--log.format",
        "log_format",
        type=FORMATS,
        help="Default: readable on a terminal, fields to journald, else JSON.",
    )(command)
    return click.option(
        "--log.level", "log_level", type=LEVELS, help="Least severe level that is written; default info."
    )(command)


def listen_address_option(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    """An address to listen on, or a usage error that says how one is written."""
    try:
        return is_listen_address(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} {error}") from None


def fail(message: str, code: int) -> NoReturn:
    """Says why on standard error, one line for each problem, and leaves."""
    for text in mask_text(message).split("\n"):
        click.echo(f"{priority_prefix('error', sys.stderr)}spotd: {line(text)}", err=True)
    sys.exit(code)


def warn(message: str) -> None:
    """Says on standard error what is worth a look and keeps nobody from going on."""
    text = line(mask_text(message))
    click.echo(f"{priority_prefix('warning', sys.stderr)}spotd: warning: {text}", err=True)


def leave_for(error: StoreError) -> NoReturn:
    """Leaves with 2 where the configuration is at fault, else 1."""
    fail(str(error), EXIT_USAGE if isinstance(error, StoreUnusable) else EXIT_FAILED)


def read_settings(config_file: Path | None) -> LoadedSettings:
    """The configuration, or an exit with code 2 and every problem, a line each."""
    try:
        loaded = load_settings(config_file, os.environ)
    except ConfigurationError as error:
        fail(str(error), EXIT_USAGE)
    _hide_secrets(loaded.settings)
    for warning in loaded.warnings:
        warn(str(warning))
    return loaded


def load_again(config_file: Path | None) -> Settings:
    """The configuration as it is now.

    Raises:
        ConfigurationError: It is not right.
    """
    settings = load_settings(config_file, os.environ).settings
    _hide_secrets(settings)  # a token may have been rotated
    return settings


def _hide_secrets(settings: Settings) -> None:
    for secret in secret_values(settings):
        register_secret(secret)


def start_logging(
    settings: Settings, level: str | None, log_format: str | None, *, quiet: bool = False
) -> None:
    """Sets up the log; flags win over the configuration."""
    configure_logging(
        level=level or ("error" if quiet else settings.log.level),
        format=log_format or settings.log.format,
        stream=sys.stderr,
    )
    log_uncaught_exceptions()


def exit_for(error: CloudError) -> NoReturn:
    """Leaves with 2 where the configuration is at fault, else 1."""
    fail(str(error), EXIT_USAGE if error.reason is Failure.CONFIGURATION else EXIT_FAILED)
