"""What a reload changes, and what it cannot."""

import pytest

from spotd.settings import Settings, changed_keys, load_settings, needs_restart


def loaded(**environ: str) -> Settings:
    return load_settings(None, environ).settings


def test_finds_nothing_changed_between_equal_settings() -> None:
    assert changed_keys(Settings(), Settings()) == ()


@pytest.mark.parametrize(
    ("environ", "changed", "restart"),
    [
        ({"SPOTD_LOG__LEVEL": "debug"}, ("log.level",), ()),
        (
            {"SPOTD_WEB__LISTEN_ADDRESS": "[::1]:80", "SPOTD_CACHE__NETBOX_SECONDS": "5"},
            ("cache.netbox_seconds", "web.listen_address"),
            ("web.listen_address",),
        ),
        (
            {"SPOTD_CACHE__BACKEND": "redis", "SPOTD_CACHE__REDIS_URL": "redis://r"},
            ("cache.backend", "cache.redis_url"),
            ("cache.backend", "cache.redis_url"),
        ),
        (
            {"SPOTD_COLLECTION__STATE_DIRECTORY": "/srv"},
            ("collection.state_directory",),
            ("collection.state_directory",),
        ),
        (
            {"SPOTD_NETBOX__URL": "https://n", "SPOTD_NETBOX__TOKEN": "a"},
            (
                "netbox.url",
                "netbox.token",
                "netbox.verify_tls",
                "netbox.request_timeout_seconds",
                "netbox.query",
                "netbox.nvlink_field",
                "netbox.gpu_count_field",
                "netbox.gpu_tags",
                "netbox.gpu_roles",
                "netbox.full_resync_seconds",
            ),
            (),
        ),
    ],
)
def test_names_what_changed_and_what_needs_a_restart(
    environ: dict[str, str], changed: tuple[str, ...], restart: tuple[str, ...]
) -> None:
    new = loaded(**environ)

    assert (changed, restart) == (changed_keys(Settings(), new), needs_restart(Settings(), new))


def test_sees_a_rotated_token() -> None:
    url = {"SPOTD_NETBOX__URL": "https://n"}

    old, new = loaded(**url, SPOTD_NETBOX__TOKEN="a"), loaded(**url, SPOTD_NETBOX__TOKEN="b")

    assert changed_keys(old, new) == ("netbox.token",)
