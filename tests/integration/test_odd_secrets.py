"""No part of a secret is shown, whatever characters it has, wherever it stands and whatever becomes of it."""

import json
import logging
import os
import signal
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from click.testing import CliRunner
from daemons import environment, process, write_clouds_file
from given_back import logging_as_it_was
from openstack.config import loader
from waiting import until

from spotd.cli import main
from spotd.clouds.cloud_entry import region_of
from spotd.clouds.errors import CloudError
from spotd.settings import ConfigurationError, load_settings, public_settings
from spotd.sim import CloudSize, EmbeddedCloud

__all__ = ["logging_as_it_was"]

ODD = {
    "number-sign": "#",
    "question-mark": "?",
    "at": "@",
    "percent": "%",
    "escape": "%2F",
    "slash": "/",
    "colon": ":",
    "open-bracket": "[",
    "close-bracket": "]",
    "brace": "{",
    "quote": "'",
    "double-quote": '"',
    "backslash": "\\",
    "ampersand": "&",
    "star": "*",
    "bang": "!",
    "space": " ",
    "newline": "\n",
    "tab": "\t",
    "nul": "\0",
    "unicode": "\N{SNOWMAN}",
    "half-a-pair": "\ud800",
}
HALVES = ("Hx7kQ2bN", "Wv9mT4pL")
PORT = "127.0.0.1:1"


@dataclass
class Place:
    """A configuration, a clouds.yaml and an environment, in one of which the secret stands."""

    groups: dict[str, Any] = field(default_factory=lambda: {"openstack": {"cloud": "north"}})
    clouds: str | None = None
    environ: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)


def auth(**more: Any) -> dict[str, Any]:
    plain = {"auth_url": f"http://{PORT}/v3", "username": "ada", "password": "lab", "project_name": "p"}
    return plain | {"user_domain_name": "Default", "project_domain_name": "Default"} | more


def entry(**more: Any) -> str:
    return json.dumps({"clouds": {"north": {"auth": auth(**more)}}})


def regions(given: list[Any]) -> str:
    return json.dumps({"clouds": {"north": {"auth": auth(), "regions": given}}})


def netbox(**more: Any) -> Place:
    return Place({"openstack": {"cloud": "north"}, "netbox": {"url": f"http://{PORT}"} | more})


def group(name: str, **more: Any) -> Place:
    return Place({"openstack": {"cloud": "north"}, name: more})


def with_environment(**environ: str) -> Place:
    return Place(environ=environ)


PLACES: Mapping[str, Callable[[str], Place]] = {
    "netbox.token": lambda secret: netbox(token=secret),
    "SPOTD_NETBOX__TOKEN": lambda secret: with_environment(
        SPOTD_NETBOX__URL=f"http://{PORT}", SPOTD_NETBOX__TOKEN=secret
    ),
    "netbox.token_file": lambda secret: Place(netbox(token_file="token").groups, files={"token": secret}),
    "netbox.url": lambda secret: netbox(url=f"http://ada:{secret}@{PORT}", token="abc"),
    "netbox as text": lambda secret: Place({"netbox": secret}),
    "cache.redis_url": lambda secret: group(
        "cache", backend="redis", redis_url=f"redis://:{secret}@{PORT}/0"
    ),
    "cache.redis_url option": lambda secret: group(
        "cache", backend="redis", redis_url=f"redis://{PORT}?{secret}=1"
    ),
    "SPOTD_CACHE__REDIS_URL": lambda secret: with_environment(
        SPOTD_CACHE__BACKEND="redis", SPOTD_CACHE__REDIS_URL=f"redis://ada:{secret}@{PORT}"
    ),
    "journal.url": lambda secret: group("journal", url=f"postgresql://ada:{secret}@{PORT}/spotd"),
    "journal.url option": lambda secret: group(
        "journal", url=f"postgresql://ada@{PORT}/spotd?password={secret}"
    ),
    "SPOTD_JOURNAL__URL": lambda secret: with_environment(
        SPOTD_JOURNAL__URL=f"postgresql://ada:{secret}@{PORT}/spotd"
    ),
    "escaped journal.url": lambda secret: group(
        "journal", url=f"postgresql://ada:{quote(secret, safe='', errors='replace')}@{PORT}/spotd"
    ),
    "escaped redis_url": lambda secret: group(
        "cache", backend="redis", redis_url=f"redis://:{quote(secret, safe='', errors='replace')}@{PORT}/0"
    ),
    "api.tokens hash": lambda secret: group("api", tokens=[{"name": "a", "role": "viewer", "hash": secret}]),
    "api.tokens unknown key": lambda secret: group("api", tokens=[{"name": "a", "token": secret}]),
    "web.config_file": lambda secret: Place(
        group("web", config_file="DIRECTORY/web.yml").groups,
        files={"web.yml": json.dumps({"basic_auth_users": {"ada": secret}})},
    ),
    "web.config_file key": lambda secret: Place(
        group("web", config_file="DIRECTORY/web.yml").groups,
        files={"web.yml": json.dumps({"tls_server_config": {"cert": "c", "key": secret}})},
    ),
    "auth.password": lambda secret: Place(clouds=entry(password=secret)),
    "auth.password bare": lambda secret: Place(
        clouds=f"clouds:\n  north:\n    auth:\n      password: {secret}\n"
    ),
    "auth.auth_url": lambda secret: Place(clouds=entry(auth_url=f"http://ada:{secret}@{PORT}/v3")),
    "auth.application_credential_secret": lambda secret: Place(
        clouds=entry(application_credential_id="a", application_credential_secret=secret)
    ),
    "auth unknown key": lambda secret: Place(clouds=entry(old_password=secret)),
    "auth as text": lambda secret: Place(clouds=json.dumps({"clouds": {"north": {"auth": secret}}})),
    "region's password": lambda secret: Place(
        clouds=json.dumps(
            {
                "clouds": {
                    "north": {"regions": [{"name": "r", "values": {"auth": {"password": secret}}, "x": 1}]}
                }
            }
        )
    ),
    "OS_PASSWORD": lambda secret: Place(
        {}, environ={f"OS_{key.upper()}": value for key, value in auth(password=secret).items()}
    ),
    "OS_AUTH_URL": lambda secret: Place(
        {}, environ={"OS_AUTH_URL": f"http://ada:{secret}@{PORT}/v3", "OS_USERNAME": "a", "OS_PASSWORD": "b"}
    ),
    "OS_APPLICATION_CREDENTIAL_SECRET": lambda secret: Place(
        {},
        environ={"OS_AUTH_URL": f"http://{PORT}/v3", "OS_APPLICATION_CREDENTIAL_SECRET": secret},
    ),
}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("OS_", "SPOTD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(loader, "CONFIG_FILES", [])
    monkeypatch.setattr(loader, "SECURE_FILES", [])


def laid_out(place: Place, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    clouds = directory / "clouds.yaml"
    clouds.write_text(place.clouds or entry(), errors="replace")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(clouds))
    for name, value in place.environ.items():
        if "\0" in value or "\ud800" in value:
            pytest.skip("no environment can hold it")
        monkeypatch.setenv(name, value)
    for name, text in place.files.items():
        (directory / name).write_text(text, errors="replace")
    path = directory / "spotd.yml"
    path.write_text(json.dumps(place.groups).replace("DIRECTORY", str(directory)))
    return path


def shown(text: str) -> list[str]:
    """Parts of the secret that stand in the text."""
    parts = {half[start : start + 6] for half in HALVES for start in range(len(half) - 5)}
    return sorted(part for part in parts if part in text)


@pytest.mark.parametrize("character", ODD.values(), ids=list(ODD))
@pytest.mark.parametrize("where", PLACES)
def test_no_part_of_a_secret_is_shown(
    where: str,
    character: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    path = laid_out(PLACES[where](character.join(HALVES)), tmp_path, monkeypatch)

    done = CliRunner().invoke(main, ["check-config", str(path)])

    told = done.output + caplog.text
    assert done.exit_code in (0, 2), done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    try:
        settings = load_settings(path, os.environ).settings
        told += f"{settings!r} {settings} {public_settings(settings)}"
        told += repr(region_of(settings.openstack.cloud, None))
    except (ConfigurationError, CloudError) as error:
        told += "".join(traceback.format_exception(error)) + repr(error)
    assert shown(told) == [], told


@pytest.mark.parametrize("joint", ["-", "#?@%/:[]{}'\" &*!"], ids=["plain", "odd"])
@pytest.mark.parametrize("where", PLACES)
def test_no_command_shows_a_part_of_a_secret(
    where: str, joint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that connect to where nobody answers, with all that is logged, and those that have no log."""
    path = laid_out(PLACES[where](joint.join(HALVES)), tmp_path, monkeypatch)
    for arguments in (
        ("journal", "--config.file", str(path)),
        ("freeze", "--config.file", str(path), "--reason", "because"),
        ("collect", "--config.file", str(path), "--log.level", "debug", "--log.format", "json"),
        ("preflight", "--config.file", str(path), "--log.level", "debug"),
    ):
        done = CliRunner().invoke(main, arguments)

        assert done.exit_code in (0, 1, 2), done.output
        assert done.exception is None or isinstance(done.exception, SystemExit)
        assert "did not foresee" not in done.output
        assert shown(done.output) == [], done.output


def test_a_daemon_with_odd_secrets_works_and_shows_none(tmp_path: Path) -> None:
    password = "#?@%/:[]{}'\" \n\t\N{SNOWMAN}\\&*!".join(HALVES)
    with EmbeddedCloud(CloudSize(hosts=12, projects=2), seed=5) as cloud:
        users = cloud.world.identity.users
        users["admin"] = replace(users["admin"], password=password)
        environ = environment(
            write_clouds_file(cloud, tmp_path, password=password),
            SPOTD_CACHE__BACKEND="redis",
            SPOTD_CACHE__REDIS_URL=f"redis://:{quote(password, safe='')}@{PORT}/0",
            SPOTD_CACHE__SNAPSHOT_SECONDS="1",
            SPOTD_WEB__LISTEN_ADDRESS="127.0.0.1:0",
            STATE_DIRECTORY=str(tmp_path / "state"),
        )
        with process("run", "--log.level", "debug", "--log.format", "json", environ=environ) as running:
            face = running.face()
            until(lambda: (face.scrape().get("spotd_fleet_hosts") or 0) > 0, seconds=30)
            paths = ("/metrics", "/", "/-/ready", "/api/config", "/api/sources", "/api/cache-stats")
            seen = {path: requests.get(face.url + path, timeout=10).text for path in paths}
            running.send(signal.SIGTERM)
            assert running.left(seconds=10) == 0
    written = "".join([*seen.values(), *running.out, *running.err])

    assert '"redis_url":"***"' in seen["/api/config"].replace(" ", "")
    assert shown(written) == []
