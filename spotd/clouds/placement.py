"""Placement: GPU capacity and allocation of all hypervisors in a few requests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from spotd.clouds.errors import malformed
from spotd.clouds.keystone import CloudSession
from spotd.clouds.limits import LIST_BYTES, MOST_PROVIDERS_OF_A_TREE
from spotd.clouds.shape import name_of, object_of, once, optional_text, rows_of, text_of, whole_number
from spotd.fleet.live import Provider
from spotd.fleet.values import GpuCount

MICROVERSION = "1.31"
"""First with `in_tree` on allocation candidates (Stein); 1.29 brought summaries of whole trees."""


COMMON_CLASSES = ("MEMORY_MB", "VCPU", "DISK_GB")
"""Asked in this order until no hypervisor is missing: an answer leaves out trees full in its class."""

MOST_TIMES = 1e6
"""An allocation ratio above this is no ratio: Placement's own, for processors, is 16 at most by default."""

NOTHING = GpuCount(capacity=0, used=0)


@dataclass(slots=True)
class TreeCounts:
    """What one tree offers: for each resource class what its providers have, summed."""

    classes: dict[str, GpuCount] = field(default_factory=dict)

    def add(self, resource_class: str, capacity: int, used: int) -> None:
        """Counts one provider's inventory in.

        Nova reserves a one-time-use device when a server takes it and until it is cleaned: without capacity
        and in use it is one that is sold, without capacity and unused one that nobody can have.
        https://docs.openstack.org/nova/latest/admin/pci-passthrough.html
        """
        before = self.classes.get(resource_class, NOTHING)
        self.classes[resource_class] = GpuCount(
            capacity=before.capacity + (capacity or used),
            used=before.used + used,
            reserved=before.reserved + (not capacity and not used),
        )


class Placement:
    """The calls to Placement that spotd makes."""

    def __init__(self, session: CloudSession) -> None:
        self._session = session

    def providers(self) -> tuple[Provider, ...]:
        """All resource providers. Source: GET /resource_providers.

        Raises:
            CloudError: No usable answer came.
        """
        document = self._get("/resource_providers", "list providers")
        rows = rows_of(document, "resource_providers", "placement: resource providers")
        once(rows, "uuid", "placement: resource providers")
        return tuple(provider_of(row) for row in rows)

    def summaries(self, resource_class: str, *, root: str | None = None) -> dict[str, TreeCounts]:
        """Counts of every tree that has one unit of the class free, by root provider uuid.

        A tree that is full in that class is missing from the answer, which says nothing about it.
        Source: GET /allocation_candidates?resources=CLASS:1 (`provider_summaries`).

        Args:
            resource_class: Such as MEMORY_MB; a class of which every tree has one provider only, since
                the number of candidates multiplies otherwise.
            root: Ask for this tree alone.

        Raises:
            CloudError: No usable answer came.
        """
        params = {"resources": f"{resource_class}:1"} | ({"in_tree": root} if root else {})
        document = self._get("/allocation_candidates", "read summaries", params)
        summaries = object_of(document, "provider_summaries", "placement: allocation candidates")
        trees: dict[str, TreeCounts] = {}
        for summary in summaries.values():
            _count(trees, summary)
        return trees

    def tree(self, root: str) -> TreeCounts:
        """Counts of a tree whatever its fill: two requests for each of its providers.

        Source: GET /resource_providers?in_tree, /resource_providers/{uuid}/inventories and /usages.

        Raises:
            CloudError: No usable answer came.
        """
        counts = TreeCounts()
        document = self._get("/resource_providers", "list tree", {"in_tree": root})
        for row in tree_of(document):
            uuid = provider_of(row).uuid
            answer = self._get(f"/resource_providers/{uuid}/inventories", "read inventories")
            inventories = object_of(answer, "inventories", "placement: inventories")
            answer = self._get(f"/resource_providers/{uuid}/usages", "read usages")
            usages = object_of(answer, "usages", "placement: usages")
            for resource_class, inventory in inventories.items():
                counts.add(
                    resource_class, _capacity(inventory), whole_number(usages, resource_class, "placement")
                )
        return counts

    def _get(self, path: str, operation: str, params: Mapping[str, str] | None = None) -> Any:
        document, _ = self._session.get(
            "placement",
            path,
            operation=operation,
            microversion=MICROVERSION,
            params=params,
            most_bytes=LIST_BYTES,
        )
        return document


def tree_of(document: Any) -> list[Mapping[str, Any]]:
    """The rows of one tree, each of which is to be asked about.

    Raises:
        CloudError: It is no list of objects, or longer than any tree.
    """
    rows = rows_of(document, "resource_providers", "placement: resource providers")
    if len(rows) > MOST_PROVIDERS_OF_A_TREE:
        raise malformed(f"placement: a tree of more than {MOST_PROVIDERS_OF_A_TREE} providers")
    return rows


def provider_of(row: Mapping[str, Any]) -> Provider:
    """A resource provider as lists show it.

    Raises:
        CloudError: Something is missing or of another kind.
    """
    what = "placement: resource provider"
    uuid = name_of(row, "uuid", what)
    return Provider(
        uuid=uuid,
        name=name_of(row, "name", what),
        root=optional_text(row, "root_provider_uuid", what) or uuid,
        generation=whole_number(row, "generation", what),
    )


def _count(trees: dict[str, TreeCounts], summary: Any) -> None:
    what = "placement: provider summary"
    if not isinstance(summary, dict):
        raise malformed(f"{what} is no object", summary)
    tree = trees.setdefault(text_of(summary, "root_provider_uuid", what), TreeCounts())
    for resource_class, numbers in object_of(summary, "resources", what).items():
        if not isinstance(numbers, dict):
            raise malformed(f"{what}: {resource_class} is no object", numbers)
        tree.add(resource_class, whole_number(numbers, "capacity", what), whole_number(numbers, "used", what))


def _capacity(inventory: Any) -> int:
    """Units that can be allocated, as Placement's own summaries count them."""
    what = "placement: inventory"
    if not isinstance(inventory, dict):
        raise malformed(f"{what} is no object", inventory)
    ratio = inventory.get("allocation_ratio", 1.0)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 <= ratio <= MOST_TIMES:
        raise malformed(f"{what}: 'allocation_ratio' is no ratio", ratio)
    free = whole_number(inventory, "total", what) - whole_number(inventory, "reserved", what)
    return max(0, int(free * ratio))
