"""A device's plain facts are read in every plain form; the rest is unknown, and named."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.netbox_rows import LONGEST_SHOWN, device_of
from spotd.fleet.gpu_names import MOST_GPUS
from spotd.fleet.values import Device, Unread
from spotd.settings.models import NetBoxSettings

SETTINGS = NetBoxSettings.model_validate({"url": "https://netbox.example.com", "token": "t" * 40})
UNSET = {"gpu_count": None, "nvlinks_capable": None}


def row(**fields: Any) -> dict[str, Any]:
    """A device as NetBox gives it."""
    return {
        "id": 12,
        "name": "h1",
        "status": {"value": "active", "label": "Active"},
        "site": {"id": 1, "name": "CA1", "slug": "ca1"},
        "rack": None,
        "tenant": {"id": 5, "name": "Aurora"},
        "role": {"id": 1, "name": "GPU Hypervisor", "slug": "gpu-hypervisor"},
        "tags": [{"id": 1, "slug": "h100"}],
        "custom_fields": UNSET,
        **fields,
    }


def read(**fields: Any) -> Device:
    found = device_of(row(**fields), SETTINGS, {5: "Investors"})
    assert found is not None
    return found


def with_field(name: str, value: Any) -> Device:
    return read(custom_fields={**UNSET, name: value})


@pytest.mark.parametrize(
    "value",
    [
        8,
        8.0,
        "8",
        " 8 ",
        "8.0",
        "8.0000",
        "08",
        ["8"],
        [8],
        {"value": "8", "label": "8"},
        {"value": "8", "label": "Eight GPUs"},
        {"value": "eight", "label": "8"},
        [{"value": 8, "label": "8"}],
    ],
    ids=repr,
)
def test_a_count_of_gpus_is_read_in_every_plain_form(value: Any) -> None:
    assert (8, ()) == (with_field("gpu_count", value).gpu_count, with_field("gpu_count", value).unread)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (1, True),
        (0, False),
        (1.0, True),
        ("yes", True),
        ("Yes", True),
        ("no", False),
        ("true", True),
        ("FALSE ", False),
        ("1", True),
        ("0", False),
        (["yes"], True),
        ({"value": "y1", "label": "Yes"}, True),
        ({"value": False, "label": "No"}, False),
    ],
    ids=repr,
)
def test_nvlink_is_read_in_every_plain_form(value: Any, expected: bool) -> None:
    found = with_field("nvlinks_capable", value)

    assert (expected, ()) == (found.nvlink, found.unread)


@pytest.mark.parametrize("value", [None, "", "  ", [], {"value": None, "label": None}], ids=repr)
@pytest.mark.parametrize("name", ["gpu_count", "nvlinks_capable"])
def test_an_unset_field_is_unknown_and_nothing_odd(name: str, value: Any) -> None:
    found = with_field(name, value)

    assert (None, None, ()) == (found.gpu_count, found.nvlink, found.unread)


@pytest.mark.parametrize(
    "value",
    [
        "eight",
        "8 GPUs",
        "8.5",
        8.5,
        -1,
        "-1",
        1e9,
        10**30,
        MOST_GPUS + 1,
        float("inf"),
        float("nan"),
        True,
        "٨",
        ["8", "4"],
        [["8"]],
        {"id": 3, "name": "8"},
        {"value": "8", "label": "4"},
        {"value": {"value": 8}},
        {},
    ],
    ids=repr,
)
def test_what_is_no_count_is_unknown_and_named(value: Any) -> None:
    found = with_field("gpu_count", value)

    assert found.gpu_count is None
    assert ["gpu_count"] == [one.field for one in found.unread]


@pytest.mark.parametrize("value", ["maybe", 2, -1, 0.5, "NVLink 4.0", [True, False], {"id": 1}], ids=repr)
def test_what_is_neither_yes_nor_no_is_unknown_and_named(value: Any) -> None:
    found = with_field("nvlinks_capable", value)

    assert found.nvlink is None
    assert ["nvlinks_capable"] == [one.field for one in found.unread]


def test_a_field_that_the_device_does_not_have_is_told_from_one_that_is_unset() -> None:
    """A wrong name in the settings looks so on every device."""
    found = read(custom_fields={"gpu_count": 8})

    assert (8, None) == (found.gpu_count, found.nvlink)
    assert (Unread(field="nvlinks_capable", value=None),) == found.unread


def test_what_is_shown_of_a_value_is_short_plain_and_without_secrets() -> None:
    """It goes to the log and to a terminal."""
    shown = [
        with_field("gpu_count", value).unread[0].value or ""
        for value in ("x" * 10_000, "8\x1b[2J\n\u202e", {"password": "hunter2hunter2"}, ["a" * 40] * 999)
    ]

    assert all(len(one) <= LONGEST_SHOWN and one.isascii() and one.isprintable() for one in shown)
    assert not any("hunter2" in one or "a" * 40 in one for one in shown)


@pytest.mark.parametrize(
    ("tags", "expected", "is_odd"),
    [
        (["h100", "spot"], ("h100", "spot"), False),
        ([{"slug": "h100"}, "spot"], ("h100", "spot"), False),
        ([{"slug": "h100"}, {"name": "Spot"}], ("h100",), True),
        ([7], (), True),
        ("h100,spot", (), True),
        ({"h100": True}, (), True),
        (None, (), False),
    ],
)
def test_tags_are_read_as_objects_and_as_slugs(tags: Any, expected: tuple[str, ...], is_odd: bool) -> None:
    found = read(tags=tags)

    assert (expected, ["tags"] if is_odd else []) == (found.tags, [one.field for one in found.unread])


@pytest.mark.parametrize(
    ("key", "value", "expected", "is_odd"),
    [
        ("site", None, None, False),
        ("site", "CA1", "CA1", False),
        ("site", 3, None, True),
        ("site", {"id": 3}, None, True),
        ("site", {"name": 7}, "7", False),
        ("rack", {"name": "R1"}, "R1", False),
        ("rack", [1], None, True),
        ("tenant", "Aurora", "Aurora", False),
        ("tenant", 5, None, True),
        ("role", {"slug": "gpu-hypervisor"}, "gpu-hypervisor", False),
        ("role", "gpu-hypervisor", "gpu-hypervisor", False),
        ("role", 1, None, True),
    ],
)
def test_related_objects_are_read_by_name(key: str, value: Any, expected: str | None, is_odd: bool) -> None:
    found = read(**{key: value})

    assert (expected, [key] if is_odd else []) == (
        getattr(found, key),
        [one.field for one in found.unread],
    )


@pytest.mark.parametrize("tenant", [{"id": 5, "name": "Aurora"}, 5], ids=["object", "id"])
def test_a_tenant_is_of_its_group_by_its_id(tenant: Any) -> None:
    assert read(tenant=tenant).tenant_group == "Investors"


@pytest.mark.parametrize("tenant", [{"id": [5]}, {"id": True}, {"name": "Aurora"}, None], ids=repr)
def test_a_tenant_without_an_id_is_of_no_known_group(tenant: Any) -> None:
    assert read(tenant=tenant).tenant_group is None


def test_an_old_release_names_the_role_otherwise() -> None:
    old = row(device_role={"slug": "gpu-hypervisor"})
    del old["role"]

    found = device_of(old, SETTINGS, {})

    assert found is not None
    assert found.role == "gpu-hypervisor"


@pytest.mark.parametrize(("name", "expected"), [("h1", "h1"), (7, "7")])
def test_a_name_may_be_a_number(name: Any, expected: str) -> None:
    assert read(name=name).name == expected


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_device_without_a_name_is_left_out(name: Any) -> None:
    assert device_of(row(name=name), SETTINGS, {}) is None


@pytest.mark.parametrize("status", ["active", {"value": "active"}], ids=["text", "object"])
def test_a_status_may_be_plain(status: Any) -> None:
    assert read(status=status).status == "active"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("status", None),
        ("status", ""),
        ("status", 1),
        ("status", {}),
        ("status", {"value": None}),
        ("status", ["active"]),
        ("custom_fields", None),
        ("custom_fields", []),
        ("name", True),
        ("name", 1.5),
        ("name", {"name": "h1"}),
    ],
)
def test_a_broken_fact_that_every_device_has_names_the_device_and_the_key(key: str, value: Any) -> None:
    with pytest.raises(CloudError) as caught:
        read(**{key: value})

    assert caught.value.reason is Failure.MALFORMED
    assert str(caught.value).startswith(f"netbox: device 12: {key!r} ")


@pytest.mark.parametrize("number", [None, -1, 2**63, "12", True])
def test_a_device_without_a_right_id_is_refused(number: Any) -> None:
    with pytest.raises(CloudError) as caught:
        read(id=number)

    assert caught.value.reason is Failure.MALFORMED


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(count=_ANY, nvlink=_ANY, site=_ANY, more=st.fixed_dictionaries({"tags": _ANY, "tenant": _ANY}))
def test_whatever_a_value_is_it_is_read_or_unknown(
    count: Any, nvlink: Any, site: Any, more: dict[str, Any]
) -> None:
    """And nothing that was there is dropped without a word."""
    fields = {"gpu_count": count, "nvlinks_capable": nvlink}

    found = read(custom_fields=fields, site=site, **more)

    assert found.gpu_count is None or 0 <= found.gpu_count <= MOST_GPUS
    named = {one.field for one in found.unread}
    for field, value, fact in (
        ("gpu_count", count, found.gpu_count),
        ("nvlinks_capable", nvlink, found.nvlink),
        ("site", site, found.site),
    ):
        assert fact is not None or field in named or not _says_something(value)


def _says_something(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, dict) and "value" in value:
        return any(_says_something(one) for one in value.values())
    if isinstance(value, list) and len(value) == 1:
        return _says_something(value[0])
    return value is not None and value != []
