"""From a file and an environment to settings, or to every reason why not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from spotd.settings.document import Document, Place, read_document
from spotd.settings.environment import read_environment
from spotd.settings.models import Settings
from spotd.settings.problems import ConfigurationError, Problem
from spotd.settings.schema import dotted, environment_name, leaves, slot_of
from spotd.settings.token_files import TokenFileError, read_token_file, resolve_token_file
from spotd.settings.validation import validate

TOKEN_FILE = ("netbox", "token_file")


@dataclass(frozen=True, slots=True)
class LoadedSettings:
    """Settings that are right as a whole, and what is worth a warning about them."""

    settings: Settings
    path: Path | None
    """The configuration file; None when all came from the environment and the defaults."""
    warnings: tuple[Problem, ...] = ()


def load_settings(path: Path | None, environ: Mapping[str, str]) -> LoadedSettings:
    """Read the file, lay the environment over it, check all of it, and fetch the secrets it points to.

    Raises:
        ConfigurationError: with every problem that was found.
    """
    where = str(path) if path else "environment"
    document = read_document(path) if path else Document({})
    overlay = read_environment(environ)
    problems = [*document.problems, *overlay.problems]
    settings = None
    if document.values is not None:
        settings, refused = validate(document, overlay, where)
        # A line that could not be read has been told; what its absence leads to would be noise.
        told = {problem.line for problem in document.problems}
        problems += [problem for problem in refused if problem.line is None or problem.line not in told]
    if problems or settings is None:
        raise ConfigurationError(problems)
    settings, warnings = _with_token(settings, path, environ, _origin(document, overlay.values, where))
    warnings += tuple(_overruled(settings, environ))
    if document.is_world_readable:
        warnings += _secrets_in_sight(document, overlay.values, where)
    return LoadedSettings(settings, path, warnings)


def state_directory(settings: Settings, environ: Mapping[str, str]) -> Path | None:
    """Where warm readings are kept: as set, else the first of systemd's `$STATE_DIRECTORY`, else nowhere."""
    if settings.collection.state_directory is not None:
        return settings.collection.state_directory
    first = environ.get("STATE_DIRECTORY", "").partition(":")[0]
    return Path(first) if first else None


def _origin(document: Document, spoken: Mapping[Place, object], where: str) -> Problem:
    """Where the token file was named, to be filled with what is to be said about it."""
    if TOKEN_FILE in spoken:
        return Problem(where=environment_name(TOKEN_FILE), message="")
    return Problem(where=where, line=document.lines.get(TOKEN_FILE), key=dotted(TOKEN_FILE), message="")


def _with_token(
    settings: Settings, path: Path | None, environ: Mapping[str, str], origin: Problem
) -> tuple[Settings, tuple[Problem, ...]]:
    netbox = settings.netbox
    if netbox is None or netbox.token_file is None:
        return settings, ()
    failure = None
    try:
        found = read_token_file(resolve_token_file(netbox.token_file, path, environ))
    except TokenFileError as error:
        failure = str(error)
    if failure is not None:
        raise ConfigurationError([_saying(origin, failure)])
    warnings = [_saying(origin, f"{found.path} can be read by everyone on this machine")]
    filled = settings.model_copy(update={"netbox": netbox.model_copy(update={"token": found.token})})
    return filled, tuple(warnings) if found.is_world_readable else ()


def _overruled(settings: Settings, environ: Mapping[str, str]) -> Iterator[Problem]:
    """What the environment says of the cloud and is not listened to."""
    chosen = settings.openstack
    for key, value, variable in (
        ("openstack.cloud", chosen.cloud, "OS_CLOUD"),
        ("openstack.region", chosen.region, "OS_REGION_NAME"),
    ):
        if value and environ.get(variable) not in (None, "", value):
            yield Problem(where=variable, message=f"is not used, since {key} is {value!r}")
    named = "openstack.cloud" if chosen.cloud else "OS_CLOUD" if environ.get("OS_CLOUD") else None
    if named and chosen.cloud != environ.get("OS_CLOUD_NAME", "envvars") and environ.get("OS_AUTH_URL"):
        message = (
            f"is not used, nor are other credentials of OS_*, since {named} names an entry of clouds.yaml"
        )
        yield Problem(where="OS_AUTH_URL", message=message)


def _saying(origin: Problem, message: str) -> Problem:
    return Problem(where=origin.where, line=origin.line, key=origin.key, message=message)


def _secrets_in_sight(document: Document, spoken: Mapping[Place, object], where: str) -> tuple[Problem, ...]:
    return tuple(
        Problem(
            where=where,
            line=document.lines[place],
            key=dotted(place),
            message="stands in a file that everyone on this machine can read",
        )
        for place, field in leaves()
        if slot_of(field.annotation).is_secret and place in document.lines and place not in spoken
    )
