"""Which cloud and which region is meant, and every way an entry of clouds.yaml can be wrong."""

import copy
import os
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from openstack.config import loader

from spotd.clouds.cloud_entry import NoCloudHereError
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.keystone import CloudSession
from spotd.settings import Settings
from spotd.sim import EmbeddedCloud

PASSWORD = "hunter2-swordfish"
AUTH = {
    "auth_url": "http://127.0.0.1:9/v3",
    "username": "ada",
    "password": PASSWORD,
    "project_name": "ops",
    "user_domain_name": "Default",
    "project_domain_name": "Default",
}
CREDENTIAL = {"application_credential_id": "abc", "application_credential_secret": PASSWORD}
TWO = {"regions": ["north", "south"]}


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """No cloud of this machine's."""
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(loader, "CONFIG_FILES", [])
    monkeypatch.setattr(loader, "SECURE_FILES", [])


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "clouds.yaml"
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(path))
    return path


def entry(auth: Mapping[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"auth": {**AUTH, **(auth or {})}, **more}


def write(path: Path, **clouds: Any) -> None:
    path.write_text(yaml.safe_dump({"clouds": clouds}))


def opened(cloud: str | None = None, region: str | None = None) -> CloudSession:
    return CloudSession(Settings.model_validate({"openstack": {"cloud": cloud, "region": region}}))


def refusal(cloud: str | None = None, region: str | None = None) -> str:
    with pytest.raises(CloudError) as caught:
        opened(cloud, region)
    assert caught.value.reason is Failure.CONFIGURATION
    told = "".join(traceback.format_exception(caught.value))
    assert not [part for part in parts(PASSWORD) if part in told]
    return str(caught.value)


def parts(secret: str) -> Iterator[str]:
    return (secret[start : start + 6] for start in range(len(secret) - 5))


# which cloud


def test_the_only_entry_needs_no_name(file: Path) -> None:
    write(file, north=entry())

    assert opened().name == "north"


def test_of_several_entries_one_must_be_named(file: Path) -> None:
    write(file, south=entry(), north=entry())

    assert refusal() == (
        f"openstack.cloud: {file} has several clouds and none is named, here or by OS_CLOUD: "
        "choose one of north, south"
    )


def test_the_setting_goes_before_the_environment(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, south=entry(), north=entry())
    monkeypatch.setenv("OS_CLOUD", "south")

    assert (opened().name, opened("north").name) == ("south", "north")


def test_credentials_of_the_environment_are_a_cloud_where_none_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, south=entry(), north=entry())
    for key, value in AUTH.items():
        monkeypatch.setenv(f"OS_{key.upper()}", value)

    assert (opened().name, opened("north").name) == ("envvars", "north")


def test_what_only_changes_an_entry_is_no_cloud(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, north=entry())
    monkeypatch.setenv("OS_IDENTITY_API_VERSION", "3")
    monkeypatch.setenv("OS_INTERFACE", "internal")

    session = opened()

    assert session.name == "north"
    assert session._region.get_interface("compute") == "internal"


def test_a_file_without_entries_has_none(file: Path) -> None:
    file.write_text("other: {}\n")

    assert refusal("north") == "openstack.cloud: no cloud named 'north' in clouds.yaml; it has: none"
    assert refusal().startswith("openstack.cloud: no cloud is named")


def test_a_machine_that_knows_no_cloud_at_all_is_told_from_a_wrong_entry(file: Path) -> None:
    os.environ.pop("OS_CLIENT_CONFIG_FILE")

    for cloud in (None, "north"):
        with pytest.raises(NoCloudHereError):
            opened(cloud)


# which region


def test_the_region_that_the_environment_names_is_used(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, north=entry(regions=["one", "two"]))
    monkeypatch.setenv("OS_REGION_NAME", "two")

    assert opened("north").region_name == "two"


def test_the_setting_names_the_region_before_the_environment(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(file, north=entry(regions=["one", {"name": "two", "values": {"interface": "admin"}}]))
    monkeypatch.setenv("OS_REGION_NAME", "one")

    session = opened("north", "two")

    assert session.region_name == "two"
    assert session._region.get_interface("compute") == "admin"


@pytest.mark.parametrize("regions", [{"regions": ["one", "two"]}, {"region_name": ["one", "two"]}])
def test_of_several_regions_one_must_be_named(file: Path, regions: dict[str, Any]) -> None:
    write(file, north=entry(**regions))

    assert refusal("north") == (
        f"openstack.region: cloud 'north' in {file} has several regions and none is named, here or by "
        "OS_REGION_NAME: choose one of one, two"
    )


@pytest.mark.parametrize("regions", [{"regions": ["one", "two"]}, {"region_name": "one"}])
def test_a_region_that_the_entry_does_not_have_is_refused(
    file: Path, monkeypatch: pytest.MonkeyPatch, regions: dict[str, Any]
) -> None:
    write(file, north=entry(**regions))
    choices = ", ".join(regions.get("regions", ["one"]))
    monkeypatch.setenv("OS_REGION_NAME", "three")

    sentence = f"openstack.region: cloud 'north' in {file} has no region 'three'; it has: {choices}"
    assert refusal("north") == sentence
    monkeypatch.delenv("OS_REGION_NAME")
    assert refusal("north", "three") == sentence


def test_the_setting_names_the_region_of_an_environment_that_names_another(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key, value in {**AUTH, "region_name": "one"}.items():
        monkeypatch.setenv(f"OS_{key.upper()}", value)
    file.touch()

    assert (opened().region_name, opened(None, "two").region_name) == ("one", "two")


def embedded(cloud: EmbeddedCloud, file: Path, **changes: Any) -> None:
    document = copy.deepcopy(cloud.clouds_yaml())
    document["clouds"]["embedded"] |= changes
    if changes.get("region_name", "") is None:
        del document["clouds"]["embedded"]["region_name"]
    file.write_text(yaml.safe_dump(document))


def test_each_region_of_a_catalog_has_its_endpoint(cloud: EmbeddedCloud, file: Path) -> None:
    cloud.world.identity.add_region("RegionTwo", "/two")
    embedded(cloud, file, region_name=None)

    urls = [opened("embedded", region).endpoint("compute") for region in ("RegionOne", "RegionTwo")]

    assert urls == [cloud.nova_url, f"{cloud.nova_url}/two"]


def test_of_several_regions_in_the_catalog_one_must_be_named(cloud: EmbeddedCloud, file: Path) -> None:
    cloud.world.identity.add_region("RegionTwo", "/two")
    embedded(cloud, file, region_name=None)

    with pytest.raises(CloudError) as caught:
        opened("embedded").get("compute", "/servers", operation="list servers", microversion=None)

    assert caught.value.reason is Failure.CONFIGURATION
    assert not caught.value.may_have_happened
    assert "in several regions and none is named: set openstack.region to one of RegionOne, RegionTwo" in str(
        caught.value
    )


def test_a_region_that_the_catalog_does_not_have_is_refused(cloud: EmbeddedCloud, file: Path) -> None:
    cloud.world.identity.add_region("RegionTwo", "/two")
    embedded(cloud, file, region_name="RegionSix")

    with pytest.raises(CloudError) as caught:
        opened("embedded").endpoint("compute")

    assert caught.value.reason is Failure.CONFIGURATION
    assert "the catalog has no compute in region 'RegionSix'" in str(caught.value)
    assert "it has: RegionOne, RegionTwo" in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        f"http://{'a' * 64}/v2.1",
        "http://[::1/v2.1",
        "http://nova:99999/",
        "ftp://nova/",
        "nova/v2",
        "",
        "http://a b/",
    ],
)
def test_a_url_of_the_catalog_that_cannot_be_asked_is_one_failed_call(
    cloud: EmbeddedCloud, file: Path, url: str
) -> None:
    """Until the catalog is mended: the next token heals it."""
    good = cloud.nova_url
    embedded(cloud, file)
    session = opened("embedded")
    cloud.world.identity.move_endpoint("compute", url)

    with pytest.raises(CloudError) as caught:
        session.get("compute", "/servers", operation="list servers", microversion=None)

    assert caught.value.reason in (Failure.MALFORMED, Failure.NOT_IN_CATALOG)
    assert not caught.value.may_have_happened
    cloud.world.identity.move_endpoint("compute", good)
    session.forget_token()  # as a collection does where a service is not in the catalog
    document, _ = session.get("compute", "/servers", operation="list servers", microversion=None)
    assert "servers" in document


def test_the_only_region_of_a_catalog_needs_no_name(cloud: EmbeddedCloud, file: Path) -> None:
    embedded(cloud, file, region_name=None)

    assert opened("embedded").endpoint("compute") == cloud.nova_url


def test_an_endpoint_of_the_entry_needs_no_region_of_the_catalog(cloud: EmbeddedCloud, file: Path) -> None:
    cloud.world.identity.remove_service("compute")
    cloud.world.identity.add_region("RegionTwo", "/two")
    override = {
        "compute_endpoint_override": cloud.nova_url,
        "placement_endpoint_override": cloud.placement_url,
    }
    embedded(cloud, file, region_name=None, **override)

    document, _ = opened("embedded").get("compute", "/servers", operation="list", microversion=None)

    assert "servers" in document


# what else the environment says


@pytest.mark.parametrize("variable", ["OS_INTERFACE", "OS_ENDPOINT_TYPE"])
def test_the_environment_names_the_interface_of_an_entry(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    write(file, north=entry(interface="public"))
    monkeypatch.setenv(variable, "internalURL")

    assert opened("north")._region.get_interface("compute") == "internalURL"


def test_two_interfaces_that_differ_are_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, north=entry(), south=entry(interface="public", endpoint_type="admin"))
    monkeypatch.setenv("OS_INTERFACE", "public")
    monkeypatch.setenv("OS_ENDPOINT_TYPE", "admin")

    assert refusal("north") == "OS_INTERFACE and OS_ENDPOINT_TYPE are both set and differ: unset one"
    monkeypatch.delenv("OS_INTERFACE")
    assert refusal("south").endswith("interface and endpoint_type are both set and differ: keep interface")


def test_the_environment_names_the_ca_of_an_entry(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, north=entry())
    monkeypatch.setenv("OS_CACERT", "/nowhere/ca.pem")

    assert refusal("north").endswith("cacert: /nowhere/ca.pem cannot be read: no such file or directory")


@pytest.mark.parametrize(("said", "verify"), [("false", False), ("False", False), ("true", True)])
def test_words_of_the_environment_are_yes_and_no(
    monkeypatch: pytest.MonkeyPatch, said: str, verify: bool
) -> None:
    """The SDK would look for a CA bundle that is named `false`."""
    for key, value in {**AUTH, "verify": said}.items():
        monkeypatch.setenv(f"OS_{key.upper()}", value)

    assert opened()._region.get_requests_verify_args()[0] is verify


# what is wrong with an entry

WRONG: dict[str, tuple[Any, str]] = {
    "application-credential": (
        {"auth": {"auth_url": AUTH["auth_url"], **CREDENTIAL}},
        "and auth_type is 'password': set auth_type: v3applicationcredential",
    ),
    "application-credential-without-secret": (
        {
            "auth_type": "v3applicationcredential",
            "auth": {"auth_url": "http://h", "application_credential_id": "a"},
        },
        "auth.application_credential_secret is missing, which auth_type 'v3applicationcredential' needs",
    ),
    "auth-type": (entry(auth_type="kerberos5"), "auth_type is unknown; choices: admin_token, "),
    "auth-type-number": (entry(auth_type=5), "auth_type must be text and is a number: put it in quotes"),
    "auth-type-list": (entry(auth_type=["password"]), "auth_type must be text and is a list"),
    "no-auth-url": ({"auth": {"username": "ada", "password": PASSWORD}}, "auth_url"),
    "no-password": ({"auth": {"auth_url": "http://h", "username": "ada"}}, "auth.password is missing"),
    "no-user": (
        {"auth": {"auth_url": "http://h", "password": PASSWORD}},
        "auth.username or auth.user_id is missing",
    ),
    "password-number": (
        entry({"password": 10**9}),
        "auth.password must be text and is a number: put it in quotes",
    ),
    "password-list": (entry({"password": [PASSWORD]}), "auth.password must be text and is a list"),
    "project-number": (entry({"project_id": 83}), "auth.project_id must be text and is a number"),
    "url-list": (entry({"auth_url": ["http://h"]}), "auth.auth_url must be text and is a list"),
    "url-number": (entry({"auth_url": 5}), "auth.auth_url must be text and is a number"),
    "url-scheme": (
        entry({"auth_url": "keystone:5000/v3"}),
        "auth.auth_url is not a URL with http:// or https://",
    ),
    "url-brace": (entry({"auth_url": "http://{host}/v3"}), "auth.auth_url: a name in braces"),
    "url-open-brace": (entry({"auth_url": "http://h/{"}), "auth.auth_url: a name in braces"),
    "url-credentials": (
        entry({"auth_url": f"http://ada:{PASSWORD}@h/v3"}),
        "auth.auth_url must not hold credentials: they belong in auth",
    ),
    "url-odd-credentials": (entry({"auth_url": f"http://ada:{PASSWORD}#/@h/v3"}), "auth.auth_url "),
    "url-long-label": (entry({"auth_url": f"http://{'a' * 64}.example.com/v3"}), "auth.auth_url "),
    "strange-key": (
        entry({"passwort": PASSWORD}),
        "auth_type 'password' takes no auth.passwort; it takes: auth_url",
    ),
    "token-with-password": (entry(auth_type="token"), "auth_type 'token' takes no auth.password, "),
    "entry-text": (PASSWORD, "an entry must hold keys with values, such as auth"),
    "entry-empty": (None, "an entry must hold keys with values, such as auth"),
    "auth-text": ({"auth": PASSWORD}, "auth must hold keys with values, such as auth_url"),
    "auth-empty": ({"auth": None}, "auth must hold keys with values, such as auth_url"),
    "region-number": (entry(region_name=5), "region_name must be text or a list of texts and is a number"),
    "region-empty": (entry(region_name=None), "region_name must be text or a list of texts and is nothing"),
    "regions-text": (entry(regions="one"), "regions must be a list of names"),
    "regions-secret": (
        entry(regions=[{"name": "one", "values": {"auth": {"password": PASSWORD}}, "more": 1}]),
        "regions must be a list of names, or of groups with name and values",
    ),
    "region-password-number": (
        entry(regions=[{"name": "one", "values": {"auth": {"password": 5}}}]),
        "region 'one': auth.password must be text and is a number",
    ),
    "interface": (entry(interface="outside"), "interface is none of public, internal, admin"),
    "interface-number": (entry(interface=5), "interface must be text or a list of texts and is a number"),
    "insecure": (entry(insecure=1), "insecure must be true or false"),
    "verify": (entry(verify="nope"), "verify must be true or false"),
    "cacert-number": (entry(cacert=5), "cacert must be text and is a number"),
    "cacert-gone": (entry(cacert="/gone.pem"), "cacert: /gone.pem cannot be read: no such file or directory"),
    "cacert-nul": (entry(cacert="/a\0b"), "cannot be read: not a path"),
    "key-gone": (entry(cert="/gone.pem"), "cert: /gone.pem cannot be read"),
    "profile": (entry(profile="nobody"), "profile names no vendor"),
    "profile-list": (entry(profile=["vexxhost"]), "profile must be text and is a list"),
    "profile-url": (entry(profile="http://127.0.0.1:9"), "profile is a URL, which spotd does not ask"),
    "override": (
        entry(compute_endpoint_override=5),
        "compute_endpoint_override must be text and is a number",
    ),
    "override-url": (entry(placement_endpoint_override="h:8778"), "placement_endpoint_override is not a URL"),
    "timeout": (entry(api_timeout="soon"), "api_timeout must be a number of seconds and is text"),
    "networks": (entry(networks="abc"), "the OpenStack SDK cannot use it (AttributeError)"),
    "metrics": (entry(metrics="abc"), "the OpenStack SDK cannot use it (AttributeError)"),
}


@pytest.mark.parametrize(("content", "sentence"), WRONG.values(), ids=list(WRONG))
def test_a_wrong_entry_is_refused_with_its_key(file: Path, content: Any, sentence: str) -> None:
    write(file, north=content, south=entry())

    told = refusal("north")

    assert told.startswith(f"cloud 'north' in {file}")
    assert sentence in told
    assert opened("south").name == "south"


def test_a_ca_that_is_none_is_refused(file: Path, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    write(file, north=entry(cacert=str(tmp_path / "ca.pem")))

    assert refusal("north").endswith(f"cacert: {tmp_path / 'ca.pem'} holds no certificate")


# files

FILES: dict[str, tuple[bytes, str]] = {
    "open-quote": (
        f'clouds: {{north: {{auth: {{password: "{PASSWORD}'.encode(),
        " is not valid YAML at line 1",
    ),
    "tab": (f"clouds:\n\tpassword: {PASSWORD}".encode(), " is not valid YAML at line 2"),
    "control-character": (
        f"clouds: {PASSWORD}\x01".encode(),
        " is not valid YAML: it holds a control character",
    ),
    "latin-1": (f"clouds:\n  n: {PASSWORD}\xe9".encode("latin-1"), " is not UTF-8 at line 2"),
    "python-tag": (b"clouds: !!python/object/apply:os.system [ls]", " is not valid YAML at line 1"),
    "date": (b"clouds: {north: 2026-99-99}", " holds a number or a date that YAML cannot read"),
    "deep": (b"[" * 5000, " is nested too deeply"),
    "list": (f"- {PASSWORD}".encode(), " must hold `clouds:` with an entry for each cloud"),
    "clouds-list": (f"clouds: [{PASSWORD}]".encode(), ": clouds must hold keys with values"),
    "clouds-empty": (b"clouds:\n", ": clouds must hold keys with values"),
    "cache": (b"clouds: {}\ncache: yes", ": cache must hold keys with values"),
    "number-as-name": (b"clouds: {5: {}}", ": the name of a cloud must be text: put 5 in quotes"),
    "twice": (b"clouds:\n  north: {}\n  north: {}\n", " has a key twice in one place at line 3"),
    "large": (b"#" * 2**20 + b"##", " is larger than 1024 KiB"),
}


@pytest.mark.parametrize(("content", "sentence"), FILES.values(), ids=list(FILES))
def test_a_wrong_file_is_refused_without_its_content(file: Path, content: bytes, sentence: str) -> None:
    file.write_bytes(content)

    assert refusal("north").endswith(f"{file}{sentence}")


def test_aliases_and_merged_keys_are_taken(file: Path) -> None:
    text = yaml.safe_dump({"clouds": {"north": entry()}})
    file.write_text(text.replace("north:", "north: &north") + "  south: {<<: *north, region_name: two}\n")

    assert opened("south").region_name == "two"


def test_a_named_file_that_is_not_there_is_refused(file: Path) -> None:
    assert refusal("north") == f"OS_CLIENT_CONFIG_FILE: there is no file {file}"


def test_a_directory_is_no_clouds_file(file: Path) -> None:
    file.mkdir()

    assert refusal("north") == f"OS_CLIENT_CONFIG_FILE: {file} cannot be read: is a directory"


def test_a_password_may_stand_in_the_secure_file(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secure = tmp_path / "secure.yaml"
    monkeypatch.setenv("OS_CLIENT_SECURE_FILE", str(secure))
    write(file, north={"auth": {key: value for key, value in AUTH.items() if key != "password"}})
    write(secure, north={"auth": {"password": PASSWORD}})
    assert opened("north")._region.get_auth_args()["password"] == PASSWORD

    secure.write_text(f"clouds: {{north: {{auth: {{password: '{PASSWORD}")
    assert refusal("north") == f"OS_CLIENT_SECURE_FILE: {secure} is not valid YAML at line 1"


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[Path]:
    """Files of modes are closed to root as well."""
    directory = tmp_path
    while directory != directory.parent and os.geteuid() == 0:
        os.chmod(directory, directory.stat().st_mode | 0o011)  # noqa: PTH101
        directory = directory.parent
        if directory == Path("/tmp"):
            break
    was = os.geteuid()
    if was == 0:
        os.seteuid(65534)
    yield tmp_path
    if was == 0:
        os.seteuid(0)


def test_no_other_file_is_taken_in_the_place_of_one_that_may_not_be_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    mine, theirs = tmp_path / "clouds.yaml", tmp_path / "other.yaml"
    write(mine, north=entry())
    write(theirs, north=entry())
    mine.chmod(0)
    theirs.chmod(0o644)
    monkeypatch.setattr(loader, "CONFIG_FILES", [str(mine), str(theirs)])
    request.getfixturevalue("as_nobody")

    assert refusal("north") == (
        f"{mine} cannot be read: permission denied; "
        "make it readable, or name another by OS_CLIENT_CONFIG_FILE"
    )
    for key, value in AUTH.items():
        monkeypatch.setenv(f"OS_{key.upper()}", value)
    assert opened().name == "envvars"
