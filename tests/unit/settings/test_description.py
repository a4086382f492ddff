"""Every setting is described, and what may be shown hides what may not."""

import json

from spotd.settings import (
    Settings,
    describe_settings,
    load_settings,
    public_settings,
    settings_table_markdown,
)

DESCRIBED = describe_settings()


def test_describes_every_setting() -> None:
    assert [setting.key for setting in DESCRIBED if len(setting.help) < 10] == []


def test_names_the_unit_of_every_number() -> None:
    numbers = [setting for setting in DESCRIBED if "number" in setting.kind]

    without_unit = [
        s.key
        for s in numbers
        if not s.key.endswith(("_seconds", "_days", "_per_minute", "_bytes"))
        and not s.help.startswith(("GPUs", "Servers", "Event streams", "Moves", "Open connections"))
    ]

    assert without_unit == []


def test_lists_each_key_and_variable_once() -> None:
    keys = [setting.key for setting in DESCRIBED]
    variables = [setting.environment for setting in DESCRIBED if setting.environment]

    assert (len(set(keys)), len(set(variables))) == (len(keys), len(variables))


def test_describes_keys_inside_lists() -> None:
    pool = next(setting for setting in DESCRIBED if setting.key == "aggregates.patterns[].pool")

    assert (pool.environment, pool.default) == (None, "required")


def test_writes_one_table_row_for_each_setting() -> None:
    rows = settings_table_markdown().splitlines()

    assert len(DESCRIBED) + 2 == len(rows)
    assert (
        "| `cache.snapshot_seconds` | `SPOTD_CACHE__SNAPSHOT_SECONDS` "
        "| a number of at least 1 and at most 60 | `15` "
        "| Lifetime of the joined snapshot, and so the period of collections: 1 to 60 s. |"
    ) in rows


def test_hides_secrets_in_public_settings() -> None:
    environ = {
        "SPOTD_NETBOX__URL": "https://n",
        "SPOTD_NETBOX__TOKEN": "hunter2",
        "SPOTD_NETBOX__QUERY": '{"token": "hunter3"}',
        "SPOTD_CACHE__REDIS_URL": "redis://:hunter4@r",
    }

    public = public_settings(load_settings(None, environ).settings)

    assert "hunter" not in json.dumps(public)
    assert (public["netbox"]["url"], public["netbox"]["token"]) == ("https://n", "***")


def test_shows_public_settings_that_can_be_loaded_again() -> None:
    assert Settings.model_validate(public_settings(Settings())) == Settings()
