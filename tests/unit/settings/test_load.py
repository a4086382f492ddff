"""File, environment and secrets become one set of values."""

import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotd.settings import (
    ConfigurationError,
    Problem,
    Settings,
    load_settings,
    secret_values,
    state_directory,
)

URL = {"SPOTD_NETBOX__URL": "https://netbox.example.com"}


def file_of(tmp_path: Path, text: str, mode: int = 0o600) -> Path:
    path = tmp_path / "spotd.yml"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def refusal(path: Path | None, environ: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, environ)
    return str(caught.value)


def test_needs_neither_file_nor_environment() -> None:
    assert load_settings(None, {}).settings == Settings()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "cache:\nnetbox:\n", "\ufeffcache: {}\n"])
def test_takes_an_empty_file_or_group_as_nothing_set(tmp_path: Path, text: str) -> None:
    assert load_settings(file_of(tmp_path, text), {}).settings == Settings()


def test_lets_the_environment_win_key_by_key(tmp_path: Path) -> None:
    path = file_of(tmp_path, "cache:\n  netbox_seconds: 1\n  aggregates_seconds: 2\n")

    cache = load_settings(path, {"SPOTD_CACHE__NETBOX_SECONDS": "60"}).settings.cache

    assert (cache.netbox_seconds, cache.aggregates_seconds) == (60, 2)


def test_lets_the_environment_mend_what_the_file_has_wrong(tmp_path: Path) -> None:
    path = file_of(tmp_path, "cache:\n  backend: mongo\n")

    assert load_settings(path, {"SPOTD_CACHE__BACKEND": "memory"}).settings.cache.backend == "memory"


def test_reads_lists_and_mappings_from_the_environment_as_json() -> None:
    environ = {
        **URL,
        "SPOTD_NETBOX__TOKEN": "abc",
        "SPOTD_NETBOX__VERIFY_TLS": "false",
        "SPOTD_NETBOX__GPU_ROLES": '["gpu", "hgx"]',
        "SPOTD_GPUS__PER_HOST": '{"H100": 8}',
    }

    settings = load_settings(None, environ).settings

    assert settings.netbox is not None
    assert settings.netbox.gpu_roles == ("gpu", "hgx")
    assert settings.netbox.verify_tls is False
    assert settings.gpus.per_host == {"H100": 8}


def test_keeps_keys_as_they_are_written(tmp_path: Path) -> None:
    path = file_of(tmp_path, "gpus:\n  per_host: {3090: 4, no: 2}\n")

    assert load_settings(path, {}).settings.gpus.per_host == {"3090": 4, "no": 2}


@pytest.mark.parametrize(
    "name",
    ["SPOTD_CONFIG_FILE", "SPOTD_TEST_REDIS", "SPOTD_LAB", "SPOTD_PORT_80_TCP", "SPOTD_SERVICE_HOST", "PATH"],
)
def test_leaves_alone_variables_that_are_no_settings(name: str) -> None:
    assert load_settings(None, {name: "x"}).settings == Settings()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("SPOTD_CACHE__BACKEND", "mongo", "'mongo' is not valid; choices: memory, redis"),
        ("SPOTD_CACHE_BACKEND", "x", "unknown setting; did you mean SPOTD_CACHE__BACKEND?"),
        ("SPOTD_Q", "x", "unknown setting; names are SPOTD_GROUP__KEY, such as SPOTD_CACHE__BACKEND"),
        ("SPOTD_LOG", "x", "is a group; set its keys: SPOTD_LOG__LEVEL, SPOTD_LOG__FORMAT"),
        ("SPOTD_GPUS__PER_HOST__H100", "8", "is part of SPOTD_GPUS__PER_HOST; set that one, whole, as JSON"),
        ("SPOTD_LOG__LEVEL", "", "is empty: give it a value or unset it"),
        (
            "SPOTD_NETBOX__GPU_ROLES",
            "gpu",
            "is not JSON (expecting value at character 1); must be a list of text, as JSON",
        ),
        ("SPOTD_NETBOX__QUERY", '{"a": "1", "a": "2"}', "has a key twice"),
        ("SPOTD_NETBOX__QUERY", "[" * 100_000, "is nested too deeply"),
        (
            "SPOTD_AGGREGATES__PATTERNS",
            '[{"name": "a", "pool": "b"}]',
            "[0].pool: 'b' is not valid; choices: ondemand, spot, runpod, contract, testing",
        ),
        (
            "SPOTD_CACHE__NETBOX_SECONDS",
            "90000",
            "cache: netbox_max_age_seconds (86400) must be at least netbox_seconds (90000)",
        ),
        (
            "SPOTD_NETBOX__URL",
            "https://n",
            "netbox: no token: set token_file, or token by the environment as SPOTD_NETBOX__TOKEN",
        ),
    ],
)
def test_names_the_variable_that_is_wrong(name: str, value: str, expected: str) -> None:
    assert refusal(None, {name: value}) == f"{name}: {expected}"


def test_names_the_variable_that_is_missing() -> None:
    told = refusal(None, {"SPOTD_NETBOX__TOKEN": "abc"})

    assert told == "SPOTD_NETBOX__URL: is required (or netbox.url in the file)"


def test_tells_of_file_and_environment_together(tmp_path: Path) -> None:
    path = file_of(tmp_path, "log:\n  level: loud\n")

    told = refusal(path, {"SPOTD_Q": "x", "SPOTD_LOG__FORMAT": "xml"})

    assert [line.partition(": ")[0] for line in told.splitlines()] == [
        f"{path}:2",
        "SPOTD_LOG__FORMAT",
        "SPOTD_Q",
    ]


def test_reads_the_token_file_beside_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("nbt_abc.def\n")
    (tmp_path / "token").chmod(0o600)
    path = file_of(tmp_path, "netbox:\n  url: https://n\n  token_file: token\n")

    loaded = load_settings(path, {})

    assert loaded.settings.netbox is not None
    assert loaded.settings.netbox.token_file == Path("token")
    assert secret_values(loaded.settings) == ("nbt_abc.def",)
    assert loaded.warnings == ()


def test_reads_the_token_file_from_systemds_credentials(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "token").write_text("from-systemd")
    environ = {**URL, "SPOTD_NETBOX__TOKEN_FILE": "token", "CREDENTIALS_DIRECTORY": str(credentials)}

    assert secret_values(load_settings(None, environ).settings) == ("from-systemd",)


def test_takes_an_absolute_token_file_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("absolute\r\n")
    environ = {
        **URL,
        "SPOTD_NETBOX__TOKEN_FILE": str(tmp_path / "token"),
        "CREDENTIALS_DIRECTORY": "/nowhere",
    }

    assert secret_values(load_settings(None, environ).settings) == ("absolute",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "cannot be read: no such file or directory"),
        (b"", "the value is empty"),
        (b"\n\n", "the value is empty"),
        (b"hunter2 hunter3", "must be one word of printable ASCII characters"),
        (b"hunter2\nhunter3\n", "must be one word of printable ASCII characters"),
        (b"hunter2\xff", "is not ASCII text"),
        (b"hunter2" * 10_000, "is too large for a token"),
    ],
)
def test_refuses_a_token_file_without_showing_it(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    path = file_of(tmp_path, "netbox:\n  url: https://n\n  token_file: token\n")

    told = refusal(path, {})

    assert told.startswith(f"{path}:3: netbox.token_file: {tmp_path / 'token'} ")
    assert expected.removeprefix("the value ") in told
    assert "hunter" not in told


def test_refuses_a_directory_as_token_file(tmp_path: Path) -> None:
    environ = {**URL, "SPOTD_NETBOX__TOKEN_FILE": str(tmp_path)}

    told = refusal(None, environ)

    assert told == f"SPOTD_NETBOX__TOKEN_FILE: {tmp_path} cannot be read: is a directory"


def test_warns_of_secrets_that_everyone_may_read(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("abc")
    (tmp_path / "token").chmod(0o644)
    path = file_of(
        tmp_path,
        "netbox:\n  url: https://n\n  token_file: token\ncache:\n  redis_url: redis://r\n",
        mode=0o644,
    )

    warnings = load_settings(path, {}).warnings

    assert [str(warning) for warning in warnings] == [
        f"{path}:3: netbox.token_file: {tmp_path / 'token'} can be read by everyone on this machine",
        f"{path}:5: cache.redis_url: stands in a file that everyone on this machine can read",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "netbox:\n  url: https://n\n  token: {secret}\n  tokn: {secret}\n",
        "netbox:\n  token: {secret}\n",
        "netbox: {secret}\n",
        "netbox:\n  url: https://user:{secret}@n\n",
        "netbox:\n  url: https://n\n  token: [{secret}]\n",
        "netbox:\n  url: https://n\n  token: {secret} {secret}\n",
        "netbox:\n  url: https://n\n  token: *{secret}\n",
        "netbox:\n  url: https://n\n  token: '{secret}\n",
        "netbox:\n  url: https://n\n  token: !{secret}!{secret} x\n",
        "netbox:\n  url: https://n\n  query: {{token: [[{secret}]]}}\n",
        "cache:\n  redis_url: redis://:{secret}@r\n  backend: [{secret}]\n",
    ],
)
def test_never_shows_a_secret_in_a_refusal(tmp_path: Path, text: str) -> None:
    path = file_of(tmp_path, text.format(secret="hunter2hunter2"))

    with pytest.raises(ConfigurationError) as caught:
        load_settings(path, {})

    everything = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "hunter2" not in everything
    assert caught.value.__context__ is None


def test_never_shows_a_secret_in_what_was_loaded() -> None:
    loaded = load_settings(None, {**URL, "SPOTD_NETBOX__TOKEN": "hunter2"})

    assert "hunter2" not in f"{loaded} {loaded!r} {loaded.settings.model_dump_json()}"


@given(st.text(max_size=200))
def test_answers_any_text_with_settings_or_problems(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yml"
    path.write_text(text, encoding="utf-8", errors="replace")

    problems: tuple[Problem, ...] = ()
    try:
        load_settings(path, {})
    except ConfigurationError as error:
        problems = error.problems

    assert {problem.where for problem in problems} <= {str(path)}


def test_keeps_state_where_it_is_told_to() -> None:
    settings = load_settings(None, {"SPOTD_COLLECTION__STATE_DIRECTORY": "/srv/spotd"}).settings

    assert state_directory(settings, {"STATE_DIRECTORY": "/var/lib/spotd"}) == Path("/srv/spotd")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"STATE_DIRECTORY": "/var/lib/spotd:/var/lib/other"}, Path("/var/lib/spotd")),
        ({"STATE_DIRECTORY": ""}, None),
        ({}, None),
    ],
)
def test_keeps_state_where_systemd_says_else_nowhere(environ: dict[str, str], expected: Path | None) -> None:
    assert state_directory(Settings(), environ) == expected


@pytest.mark.parametrize(
    ("environ", "warning"),
    [
        ({"OS_CLOUD": "south"}, "OS_CLOUD: is not used, since openstack.cloud is 'north'"),
        ({"OS_REGION_NAME": "two"}, "OS_REGION_NAME: is not used, since openstack.region is 'one'"),
        (
            {"OS_AUTH_URL": "http://keystone"},
            (
                "OS_AUTH_URL: is not used, nor are other credentials of OS_*, since openstack.cloud names an "
                "entry of clouds.yaml"
            ),
        ),
        ({"OS_CLOUD": "north", "OS_REGION_NAME": "one"}, None),
    ],
    ids=["cloud", "region", "credentials", "agreed"],
)
def test_what_the_environment_says_in_vain_is_told(environ: dict[str, str], warning: str | None) -> None:
    chosen = {"SPOTD_OPENSTACK__CLOUD": "north", "SPOTD_OPENSTACK__REGION": "one"}

    loaded = load_settings(None, chosen | environ)

    assert [str(problem) for problem in loaded.warnings] == ([warning] if warning else [])


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "spotd.yml"
    file.write_text("openstack: {cloud: '', region: ' '}\n")

    with pytest.raises(ConfigurationError) as caught:
        load_settings(file, {})

    assert [problem.key for problem in caught.value.problems] == ["openstack.cloud", "openstack.region"]
    assert "is empty: give it a value or leave it out" in str(caught.value)
