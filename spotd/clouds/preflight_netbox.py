"""Looks before the daemon runs whether NetBox tells what the settings say that it tells."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.finding import Finding
from spotd.clouds.netbox import NetBox
from spotd.clouds.netbox_rows import shown
from spotd.clouds.oldest import NETBOX
from spotd.fleet.unread import UnreadField, unread_fields
from spotd.fleet.values import Device

NO_SUCH_VALUE = "spotd-preflight-no-such-value"
_PROBES = (NO_SUCH_VALUE, "true", "false")
"""Values of which no filter lets all devices pass: text, choice and number, or yes and no."""
_NEGATIONS = ("__n", "__nic", "__nie", "__niew", "__nisw")


def look_at_netbox(netbox: NetBox) -> Iterator[Finding]:
    """Asks for each need once; also reads all devices, as the first collection will."""
    try:
        told = netbox.version()
        yield Finding(need="NetBox answers", is_met=True, detail=f"version {told}; spotd needs {NETBOX.need}")
        groups = netbox.tenant_groups()
        yield Finding(need="NetBox: view tenants", is_met=True, detail=f"{len(groups)} tenants")
        changes, clock = netbox.device_changes(datetime.now(UTC), groups)
        seen = f"clock {clock.isoformat()}" if clock else "no clock in its answers"
        yield Finding(
            need="NetBox: view devices and the change log",
            is_met=True,
            detail=f"{len(changes.changed)} new, {seen}",
        )
        yield from _filters(netbox)
        devices, _ = netbox.devices(groups)
    except CloudError as error:
        yield Finding(need="NetBox", is_met=False, detail=str(error))
        return
    yield from _fields(netbox, devices)


def _filters(netbox: NetBox) -> Iterator[Finding]:
    """NetBox ignores filters that it does not know, and then answers with devices of every kind."""
    if not netbox.query:
        return
    everything = netbox.count_devices(())
    if not everything:
        return
    values: dict[str, list[str]] = {}
    for key, value in netbox.query:
        values.setdefault(key, []).append(value)
    ignored = [key for key in values if _is_ignored(netbox, key, values[key], everything)]
    names = ", ".join(f"netbox.query.{key}" for key in ignored)
    detail = (
        f"{names}: all {everything} devices fit, whatever the value: NetBox ignores filters that it does not"
        " know; is the name right?"
        if ignored
        else f"{netbox.count_devices(netbox.query)} of {everything} devices fit"
    )
    yield Finding(need="NetBox: filter devices", is_met=not ignored, detail=detail)


def _is_ignored(netbox: NetBox, key: str, values: Sequence[str], everything: int) -> bool:
    """Whether NetBox answers with all devices whatever the value is."""
    # What is not something that does not exist is everything: ask without the negation.
    plain = next((key.removesuffix(end) for end in _NEGATIONS if key.endswith(end)), key)
    asked = [[(key, value) for value in values], *([(plain, probe)] for probe in _PROBES)]
    return all(_is_everything(netbox, query, everything) for query in asked)


def _is_everything(netbox: NetBox, query: Sequence[tuple[str, str]], everything: int) -> bool:
    try:
        return netbox.count_devices(query) >= everything
    except CloudError as error:
        if error.reason is Failure.REFUSED:  # it knows the filter, and that it has no such value
            return False
        raise


def _fields(netbox: NetBox, devices: Sequence[Device]) -> Iterator[Finding]:
    """What is said of devices, and can it be read?"""
    unread = {field.name: field for field in unread_fields(devices)}
    for fact, setting, name in netbox.custom_fields:
        field = unread.pop(name, None)
        known = sum(1 for device in devices if getattr(device, fact) is not None)
        yield _custom_field(netbox, setting, name, (known, len(devices)), field)
    for name, field in unread.items():
        yield Finding(need=f"NetBox: {name} of devices", is_met=False, detail=_odd(field), is_optional=True)


def _custom_field(
    netbox: NetBox, setting: str, name: str, known: tuple[int, int], field: UnreadField | None
) -> Finding:
    need, where = f"NetBox: {setting}", f"custom field {shown(name)}"
    if field is None:
        return Finding(need=need, is_met=True, detail=f"{where}: known of {known[0]} of {known[1]} devices")
    if field.example is not None:
        return Finding(need=need, is_met=False, detail=f"{where}: {_odd(field)}", is_optional=True)
    if netbox.is_configured(setting):
        detail = f"no device has a {where}: is netbox.{setting} its name?"
        return Finding(need=need, is_met=False, detail=detail)
    detail = f"no device has a {where}, so NetBox tells nothing of it; netbox.{setting} names another"
    return Finding(need=need, is_met=True, detail=detail)


def _odd(field: UnreadField) -> str:
    return (
        f"cannot be read on {field.devices} devices, such as {shown(field.example)}: {field.value};"
        " there it is unknown"
    )
