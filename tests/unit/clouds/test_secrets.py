"""No failure tells a token or a password, however it is written down."""

import copy
import logging
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from clouds_under_test import Watched, settings_of, watching
from odd_files import ODD, make_huge

from spotd.clouds.errors import CloudError
from spotd.clouds.keystone import CloudSession
from spotd.sim import EmbeddedCloud, Fault, FaultKind

PASSWORD = "lab-password-1234"
FAULTS = {
    "html": {"kind": FaultKind.HTML, "status": 502},
    "400": {"kind": FaultKind.STATUS, "status": 400},
    "401": {"kind": FaultKind.STATUS, "status": 401},
    "403": {"kind": FaultKind.STATUS, "status": 403},
    "404": {"kind": FaultKind.STATUS, "status": 404},
    "406": {"kind": FaultKind.STATUS, "status": 406},
    "429": {"kind": FaultKind.STATUS, "status": 429},
    "500": {"kind": FaultKind.STATUS, "status": 500},
    "503": {"kind": FaultKind.STATUS, "status": 503},
    "no-json": {"kind": FaultKind.STATUS, "status": 200, "body": "{"},
    "redirect": {"kind": FaultKind.STATUS, "status": 302, "headers": {"Location": "/elsewhere"}},
    "reset": {"kind": FaultKind.RESET},
    "cut-short": {"kind": FaultKind.TRUNCATED},
    "hang": {"kind": FaultKind.HANG},
    "wrong-shape": {"kind": FaultKind.WRONG_SHAPE},
}
Ask = Callable[[Watched], Any]
ASKS: dict[str, Ask] = {
    "keystone": lambda watched: watched.region.session.endpoint("compute"),
    "nova": lambda watched: watched.region.servers._nova.compute_services(),
    "placement": lambda watched: watched.region.gpus._placement.summaries("MEMORY_MB"),
    "netbox": lambda watched: watched.region.netbox.devices({}),
}


def with_password(cloud: EmbeddedCloud) -> dict[str, Any]:
    admin = cloud.world.identity.users["admin"]
    cloud.world.identity.users["admin"] = type(admin)(admin.id, admin.name, PASSWORD, admin.roles)
    content = copy.deepcopy(cloud.clouds_yaml())
    content["clouds"]["embedded"]["auth"]["password"] = PASSWORD
    return content


def written(error: BaseException) -> str:
    return "\n".join([str(error), repr(error), *traceback.format_exception(error), repr(vars(error))])


def secrets(cloud: EmbeddedCloud) -> set[str]:
    return {PASSWORD, cloud.netbox_token, *cloud.world.identity.tokens}


@pytest.mark.parametrize("service", list(ASKS))
@pytest.mark.parametrize("fault", list(FAULTS))
def test_no_failure_tells_a_secret(
    cloud: EmbeddedCloud, service: str, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In its text, its repr, its traceback, its fields, or any library's log at debug level."""
    caplog.set_level(logging.DEBUG)
    with watching(cloud, clouds_yaml=with_password(cloud)) as watched:
        if service != "keystone":
            watched.region.session.endpoint("compute")
        cloud.faults.add(Fault(service=service, **FAULTS[fault]))

        try:
            ASKS[service](watched)
        except CloudError as error:
            told = written(error)
        else:
            told = ""
        tokens = secrets(cloud)

    assert told or (service, fault) == ("keystone", "redirect")
    assert not [secret for secret in tokens if secret in told or secret in caplog.text]


@pytest.mark.parametrize("service", ["nova", "placement", "netbox"])
def test_an_error_page_that_repeats_the_request_tells_no_token(cloud: EmbeddedCloud, service: str) -> None:
    """Some gateways echo the headers they were sent."""
    with watching(cloud, clouds_yaml=with_password(cloud)) as watched:
        watched.region.session.endpoint("compute")
        token = cloud.netbox_token if service == "netbox" else list(cloud.world.identity.tokens)[-1]
        bodies = {
            "nova": f'{{"badRequest": {{"message": "bad header X-Auth-Token: {token}"}}}}',
            "placement": f'{{"errors": [{{"detail": "bad header {token}"}}]}}',
            "netbox": f'{{"detail": "bad header Token {token}"}}',
        }
        cloud.faults.add(Fault(kind=FaultKind.STATUS, status=400, body=bodies[service], service=service))

        with pytest.raises(CloudError) as caught:
            ASKS[service](watched)

    assert "bad header" in str(caught.value)
    assert token not in written(caught.value)


def test_settings_and_sessions_show_no_secret(cloud: EmbeddedCloud, watched: Watched) -> None:
    """A repr in a log line or a traceback with variables."""
    watched.collect()

    shown = repr([settings_of(cloud), watched.region, vars(watched.region.session), watched.region.netbox])

    assert not [secret for secret in secrets(cloud) if secret in shown]


@pytest.mark.parametrize(
    "content",
    [
        'clouds: {embedded: {auth: {password: "SECRET-IN-FILE',
        "clouds:\n\tpassword: SECRET-IN-FILE",
        "- SECRET-IN-FILE",
    ],
    ids=["open-quote", "tab", "list"],
)
def test_a_broken_clouds_yaml_is_a_configuration_error_without_its_content(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, cloud: EmbeddedCloud, content: str
) -> None:
    """The YAML library would quote the line."""
    path = tmp_path / "clouds.yaml"
    path.write_text(content)
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))

    with pytest.raises(CloudError) as caught:
        CloudSession(settings_of(cloud))

    assert caught.value.reason == "configuration"
    assert "SECRET" not in written(caught.value)


@pytest.mark.parametrize(("make", "why"), ODD.values(), ids=ODD)
@pytest.mark.parametrize("name", ["OS_CLIENT_CONFIG_FILE", "OS_CLIENT_SECURE_FILE"])
def test_a_clouds_yaml_that_is_no_file_is_not_waited_for(  # noqa: PLR0917 - a row of the table
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, cloud: EmbeddedCloud, name: str, make: Any, why: str
) -> None:
    path = tmp_path / "clouds.yaml"
    make(path)
    monkeypatch.setenv(name, str(path))

    if "levels" in why:  # which the library takes for a file that is not there
        return
    with pytest.raises(CloudError) as caught:
        CloudSession(settings_of(cloud))

    assert caught.value.reason == "configuration"
    assert f"{path} cannot be read: {why}" in str(caught.value)


def test_a_clouds_yaml_without_end_is_not_read(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, cloud: EmbeddedCloud
) -> None:
    make_huge(tmp_path / "clouds.yaml")
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))

    with pytest.raises(CloudError, match="is larger than 1024 KiB"):
        CloudSession(settings_of(cloud))
