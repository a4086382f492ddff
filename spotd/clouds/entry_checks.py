"""What the keys of a cloud's entry must be, so that a session can be made of it.

No value is ever quoted: the one that is wrong may be a password in the wrong line.
"""

import os
import re
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from keystoneauth1 import exceptions as ksa
from keystoneauth1 import loading

from spotd.clouds.clouds_file import refused
from spotd.clouds.tls_files import why_no_ca, why_no_file
from spotd.logs import looks_secret
from spotd.settings.checks import is_base_url

_KINDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "a group",
}
_TEXTS = ("auth_type", "auth_plugin", "profile", "cloud", "cacert", "cert", "key")
_NEVER_EMPTY = ("auth_type", "region_name", "regions")
"""These an empty value makes something else than absent."""
_LISTS = ("region_name", "interface", "endpoint_type")
_REGION_KEYS = {"name", "values"}
_URLS = ("endpoint_override", "compute_endpoint", "placement_endpoint", "identity_endpoint")
_INTERFACES = ("public", "internal", "admin")
_BOOLEANS = ("insecure", "verify")
_PASSWORD = (("password",), ("username", "user_id"))
_NEEDED = {
    "password": _PASSWORD,
    "v3password": _PASSWORD,
    "v3applicationcredential": (
        ("application_credential_secret",),
        ("application_credential_id", "application_credential_name"),
    ),
    "token": (("token",),),
    "v3token": (("token",),),
}
_APPLICATION_CREDENTIAL = "application_credential_"
"""With which one logs in where an entry has them and names no `auth_type`: the SDK takes `password` then."""


def refuse_wrong_types(entry: Any, where: str) -> None:
    """Refuses what the SDK would stumble over, or read as something else: 0123 is 83 in YAML.

    Raises:
        CloudError: With the key.
    """
    if not isinstance(entry, dict):
        raise refused(f"{where}: an entry must hold keys with values, such as auth")
    auth = entry.get("auth", {})
    if not isinstance(auth, dict):
        raise refused(f"{where}: auth must hold keys with values, such as auth_url")
    for key, value in auth.items():
        if not (value is None or isinstance(value, str)) and key not in ("auth_methods", "methods"):
            _wrong(where, f"auth.{key}", value)
    for key in [str(key) for key in entry]:
        _refuse_wrong_type(entry, key, where)
    _refuse_braces({**entry, "auth.auth_url": auth.get("auth_url")}, where)
    _refuse_two_interfaces(entry, where)


def _refuse_wrong_type(entry: dict[str, Any], key: str, where: str) -> None:
    value = entry.get(key)
    if value is None and key not in _NEVER_EMPTY:
        return  # as the SDK's own defaults have it
    if key in _TEXTS and not isinstance(value, str):
        _wrong(where, key, value)
    if key in _LISTS and not _is_text_or_list(value):
        _wrong(where, key, value, "text or a list of texts")
    if key == "regions":
        _refuse_wrong_regions(value, where)
    if key in _BOOLEANS:
        entry[key] = _boolean(value, key, where)
    if key == "api_timeout" and not re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", str(value)):
        _wrong(where, key, value, "a number of seconds")
    if key in ("profile", "cloud") and "://" in str(value):
        raise refused(f"{where}: {key} is a URL, which spotd does not ask: put what it says into the entry")
    if key.endswith(_URLS):
        _refuse_url(value, key, where)


def refuse_unusable(config: Mapping[str, Any], where: str) -> None:
    """Refuses what a session could not be made of, or would fail with at its first request.

    Args:
        config: The entry with its profile, secure.yaml and the environment.
        where: Names it.

    Raises:
        CloudError: With the key and the cure.
    """
    auth = {str(key): value for key, value in (config.get("auth") or {}).items() if value is not None}
    kind = str(config.get("auth_type") or "none")
    _refuse_strange_keys(kind, auth, where)
    for choices in _NEEDED.get(kind, ()):
        if not any(auth.get(key) or config.get(key) for key in choices):
            raise refused(
                f"{where}: auth.{' or auth.'.join(choices)} is missing, which auth_type {kind!r} needs"
            )
    if "auth_url" in auth:
        _refuse_url(auth["auth_url"], "auth.auth_url", where)
    interfaces = config.get("interface")
    for interface in interfaces if isinstance(interfaces, list) else [interfaces]:
        if interface is not None and str(interface).removesuffix("URL") not in _INTERFACES:
            raise refused(f"{where}: interface is none of {', '.join(_INTERFACES)}")
    _refuse_tls_files(config, where)


def _wrong(where: str, key: str, value: Any, wanted: str = "text") -> NoReturn:
    cure = ": put it in quotes" if isinstance(value, bool | int | float) and wanted == "text" else ""
    kind = "nothing" if value is None else _KINDS.get(type(value), "something else")
    raise refused(f"{where}: {key} must be {wanted} and is {kind}{cure}")


def _is_text_or_list(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)
    )


def _refuse_wrong_regions(value: Any, where: str) -> None:
    for region in value if isinstance(value, list) else [None]:
        if isinstance(region, str):
            continue
        if not (
            isinstance(region, dict) and isinstance(region.get("name"), str) and set(region) <= _REGION_KEYS
        ):
            raise refused(f"{where}: regions must be a list of names, or of groups with name and values")
        refuse_wrong_types(region.get("values", {}), f"{where}, region {region['name']!r}")


def _refuse_braces(texts: Mapping[str, Any], where: str) -> None:
    """The SDK puts other keys of the entry in the place of names in braces."""
    for key, value in texts.items():
        if not isinstance(value, str) or looks_secret(key):
            continue
        try:
            names = {name for _, name, _, _ in string.Formatter().parse(value) if name is not None}
        except ValueError:
            names = {""}
        if not names <= {*texts, "region_name"}:
            raise refused(
                f"{where}: {key}: a name in braces stands for another key of the entry, and is none"
            )


def _boolean(value: Any, key: str, where: str) -> bool | str:
    """As text, which the environment alone can give, the SDK would read any word as yes or as no."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if key == "verify" and isinstance(value, str) and Path(value).is_file():
        return value  # a CA bundle, which requests takes in the place of yes
    raise refused(f"{where}: {key} must be true or false")


def _refuse_two_interfaces(entry: Mapping[str, Any], where: str) -> None:
    given = [entry[key] for key in ("interface", "endpoint_type") if entry.get(key) is not None]
    if len(given) > 1 and given[0] != given[1]:
        raise refused(f"{where}: interface and endpoint_type are both set and differ: keep interface")


def _refuse_strange_keys(kind: str, auth: Mapping[str, Any], where: str) -> None:
    try:
        options = loading.get_plugin_loader(kind).get_options()
    except ksa.NoMatchingPlugin:
        choices = ", ".join(sorted(loading.get_available_plugin_names()))
        raise refused(f"{where}: auth_type is unknown; choices: {choices}") from None
    takes: set[str] = set()
    for option in options:
        names = [option.name, option.dest, *(old.name for old in option.deprecated)]
        takes |= {name.replace("-", "_") for name in names if name}
    strange = sorted({key.replace("-", "_") for key in auth} - takes)
    if any(key.startswith(_APPLICATION_CREDENTIAL) for key in strange):
        raise refused(
            f"{where}: auth has an application credential, and auth_type is {kind!r}: "
            "set auth_type: v3applicationcredential"
        )
    if strange and kind != "v3multifactor":
        taken = ", ".join(sorted(takes))
        raise refused(
            f"{where}: auth_type {kind!r} takes no auth.{', auth.'.join(strange)}; it takes: {taken}"
        )


def _refuse_url(value: Any, key: str, where: str) -> None:
    if not isinstance(value, str):
        _wrong(where, key, value)
    try:
        is_base_url(value)
    except ValueError as error:
        raise refused(f"{where}: {key} {str(error).replace('token_file', 'auth')}") from None


def _refuse_tls_files(config: Mapping[str, Any], where: str) -> None:
    for key in ("cacert", "cert", "key"):
        if config.get(key):
            path = Path(os.path.expanduser(str(config[key])))  # noqa: PTH111 - as the SDK does
            why = why_no_ca(path) if key == "cacert" else why_no_file(path)
            if why is not None:
                raise refused(f"{where}: {key}: {path} {why}")
