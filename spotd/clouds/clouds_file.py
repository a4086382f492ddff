"""clouds.yaml and secure.yaml: which files are read, and that they are what the SDK can read.

The SDK passes over a file that it cannot read, and takes the next one that it finds; and its warning quotes
the line. Here such a file is refused.
"""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from openstack.config import loader as sdk_loader

from spotd.clouds.errors import CloudError, Failure
from spotd.logs import looks_secret, register_secret
from spotd.settings.files import FileTooLarge, read_regular

FILE_VARIABLE = "OS_CLIENT_CONFIG_FILE"
SECURE_VARIABLE = "OS_CLIENT_SECURE_FILE"
LARGEST_BYTES = 1024 * 1024
_SECTIONS = ("clouds", "cache", "client", "metrics")
_MERGE = "tag:yaml.org,2002:merge"


@dataclass(frozen=True, slots=True)
class CloudsFiles:
    """The files that are read, and what they hold."""

    clouds: Path | None
    secure: Path | None
    entries: tuple[str, ...] = ()
    """The names of the clouds, in their order."""
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    """Files that were looked for, are there and may not be read, with the reason."""


def read_clouds_files(environ: Mapping[str, str]) -> CloudsFiles:
    """Finds and reads the files as the SDK would, and keeps every secret in them out of the log.

    Raises:
        CloudError: One of them is named and not there, or is not what it should be.
    """
    unreadable: dict[Path, str] = {}
    clouds, document = _first(environ.get(FILE_VARIABLE), FILE_VARIABLE, sdk_loader.CONFIG_FILES, unreadable)
    secure, secrets = _first(
        environ.get(SECURE_VARIABLE), SECURE_VARIABLE, sdk_loader.SECURE_FILES, unreadable
    )
    entries = dict.fromkeys([*document.get("clouds", {}), *secrets.get("clouds", {})])
    for path, names in ((clouds, document), (secure, secrets)):
        for name in names.get("clouds", {}):
            if not isinstance(name, str):
                raise refused(f"{path}: the name of a cloud must be text: put {name!r} in quotes")
    return CloudsFiles(clouds, secure, tuple(entries), unreadable)


def refused(sentence: str) -> CloudError:
    """What is wrong with a configuration, in one sentence."""
    return CloudError(Failure.CONFIGURATION, sentence)


def hide_secrets(value: Any, key: str = "") -> None:
    """Keeps whatever stands under a secret's name out of all that is written from now on."""
    for name, inner in _leaves(value, key, set()):
        if looks_secret(name) and not isinstance(inner, bool):
            register_secret(str(inner))


def _leaves(value: Any, key: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if id(value) in seen:
        return  # an alias may lead back to where it stands
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _leaves(inner, str(name), seen | {id(value)})
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, key, seen | {id(value)})
    elif value is not None:
        yield key, value


def _first(
    named: str | None, variable: str, places: list[str], unreadable: dict[Path, str]
) -> tuple[Path | None, dict[str, Any]]:
    """The file that is named, else the first that is there."""
    if named:
        if not os.path.exists(named):  # noqa: PTH110 - as the SDK asks
            raise refused(f"{variable}: there is no file {named}")
        return _read(Path(named), f"{variable}: {named}")
    for place in places:
        path = Path(place)
        try:
            if os.path.exists(place):  # noqa: PTH110 - likewise: a directory that is closed holds nothing
                return _read(path, place)
        except PermissionError as error:
            unreadable[path] = (error.strerror or "no reason given").lower()
    return None, {}


def _read(path: Path, where: str) -> tuple[Path, dict[str, Any]]:
    try:
        content = read_regular(path, most_bytes=LARGEST_BYTES).content
    except FileTooLarge:
        raise refused(f"{where} is larger than {LARGEST_BYTES // 1024} KiB") from None
    except PermissionError as error:
        if where == str(path):
            raise
        raise refused(f"{where} cannot be read: {(error.strerror or '').lower()}") from None
    except OSError as error:
        raise refused(f"{where} cannot be read: {(error.strerror or type(error).__name__).lower()}") from None
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise refused(f"{where} is not UTF-8 at line {line}") from None
    return path, _shaped(_parsed(text, where, is_json=path.suffix == ".json"), where)


def _parsed(text: str, where: str, *, is_json: bool) -> Any:
    """The document; the parsers' own words may quote the line, and so a password."""
    try:
        return json.loads(text) if is_json else _yaml(text, where)
    except json.JSONDecodeError as error:
        raise refused(f"{where} is not valid JSON at line {error.lineno}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise refused(f"{where} is not valid YAML{f' at line {mark.line + 1}' if mark else ''}") from None
    except yaml.YAMLError:
        raise refused(f"{where} is not valid YAML: it holds a control character") from None
    except RecursionError:
        raise refused(f"{where} is nested too deeply") from None
    except ValueError:
        raise refused(f"{where} holds a number or a date that YAML cannot read") from None


def _yaml(text: str, where: str) -> Any:
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _refuse_duplicates(node, where, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_duplicates(node: yaml.Node, where: str, seen: set[int]) -> None:
    """Of two entries with one name YAML silently takes the last."""
    if id(node) in seen:
        return
    seen.add(id(node))
    inner = node.value if isinstance(node, yaml.SequenceNode) else []
    if isinstance(node, yaml.MappingNode):
        names: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != _MERGE:
                if key.value in names:
                    raise refused(f"{where} has a key twice in one place at line {key.start_mark.line + 1}")
                names.add(key.value)
            inner.append(value)
    for one in inner:
        _refuse_duplicates(one, where, seen)


def _shaped(document: Any, where: str) -> dict[str, Any]:
    if document is None:
        return {}
    hide_secrets(document)
    if not isinstance(document, dict):
        raise refused(f"{where} must hold `clouds:` with an entry for each cloud")
    for section in _SECTIONS:
        if section in document and not isinstance(document[section], dict):
            raise refused(f"{where}: {section} must hold keys with values")
    return document
