"""The edge of the command line: what nobody foresaw is one sentence, its traceback is for the debug log."""

import io
import sys

import click
import structlog

from spotd.cli.options import EXIT_FAILED, EXIT_USAGE, exit_for, fail, leave_for
from spotd.clouds.errors import CloudError
from spotd.logs import shows_a_secret
from spotd.settings import ConfigurationError
from spotd.store.errors import StoreError
from spotd.web.config.file import WebConfigError

log = structlog.get_logger(__name__)


class Edge(click.Group):
    """The group of all commands."""

    def invoke(self, ctx: click.Context) -> object:
        """Runs the command; an exception is told in one sentence and never shown as it is."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A name that the terminal's encoding has no letters for must not end the command.
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except CloudError as error:
            exit_for(error)
        except (ConfigurationError, WebConfigError) as error:
            fail(str(error), EXIT_USAGE)
        except StoreError as error:
            leave_for(error)
        except Exception as error:  # noqa: BLE001 - the edge of a command
            fail(_unforeseen(error, ctx.invoked_subcommand), EXIT_FAILED)


def _unforeseen(error: Exception, command: str | None) -> str:
    hint = ""
    if structlog.is_configured():  # else structlog would print it
        hint = "; --log.level debug shows where, for a report"
        if shows_a_secret(error):
            log.debug("unforeseen error", command=command, places=_places(error))
        else:
            log.debug("unforeseen error", command=command, exc_info=error)
    kind = type(error).__name__
    return f"{command}: an error that spotd did not foresee ({kind}){hint}"


def _places(error: BaseException) -> list[str]:
    """Where it happened, without the texts of the exceptions, which quote a part of a secret."""
    places = []
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        places.append(f"{code.co_filename}:{frame.tb_lineno} {code.co_name}")
        frame = frame.tb_next
    return places
