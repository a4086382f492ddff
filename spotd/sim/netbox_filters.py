"""NetBox's filters on devices: known ones are checked, unknown ones are ignored, as the real one does."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from spotd.sim.inventory import ROLE, STATUSES, Device, Inventory, slugify
from spotd.sim.wire import Call

Test = Callable[[Device], bool]


class FieldError(Exception):
    """A 400 whose body is NetBox's own: messages by field, or a bare list."""

    def __init__(self, body: Any) -> None:
        super().__init__(str(body))
        self.body = body


def device_filter(netbox: Inventory, call: Call) -> Test:
    """The test that a query asks for.

    Raises:
        FieldError: a value that NetBox refuses.
    """
    tests: list[Test] = []
    tenants = {slugify(tenant.name): tenant.id for tenant in netbox.tenants.values()}
    if statuses := _choices(call, "status", STATUSES):
        tests.append(lambda device: device.status in statuses)
    tests += [_tagged(tag) for tag in _choices(call, "tag", netbox.tags)]
    if sites := _choices(call, "site", [slug.lower() for slug in netbox.sites]):
        tests.append(lambda device: device.site.lower() in sites)
    _choices(call, "role", [ROLE[0]])
    if wanted := _choices(call, "tenant", tenants):
        ids = {tenants[slug] for slug in wanted}
        tests.append(lambda device: device.tenant_id in ids)
    if names := call.many("name"):
        tests.append(lambda device: device.name in names)
    if part := call.one("name__ic"):
        tests.append(lambda device: part.lower() in device.name.lower())
    if numbers := _numbers(call, "id"):
        tests.append(lambda device: device.id in numbers)
    if least := _numbers(call, "id__gte"):
        tests.append(lambda device: device.id >= min(least))
    if (text := call.one("last_updated__gte")) is not None:
        since = _time("last_updated__gte", text)
        tests.append(lambda device: device.last_updated >= since)
    return lambda device: all(test(device) for test in tests)


def _tagged(tag: str) -> Test:
    return lambda device: tag in device.tags


def _choices(call: Call, name: str, known: Any) -> list[str]:
    values = call.many(name)
    for value in values:
        if value not in known:
            raise FieldError({name: [f"Select a valid choice. {value} is not one of the available choices."]})
    return values


def _numbers(call: Call, name: str) -> list[int]:
    values = call.many(name)
    if not all(value.isdigit() for value in values):
        raise FieldError({name: ["Enter a whole number."]})
    return [int(value) for value in values]


def _time(name: str, text: str) -> datetime:
    try:
        when = datetime.fromisoformat(text)
    except ValueError as error:
        raise FieldError({name: ["Enter a valid date/time."]}) from error
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when
