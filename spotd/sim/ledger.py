"""Placement's state: providers in trees, their inventories, claims and generations."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from spotd.sim.errors import ConflictError, NotFoundError

TRAITS = (
    "COMPUTE_STORAGE_VIRTIO_FS",
    "COMPUTE_ADDRESS_SPACE_PASSTHROUGH",
    "COMPUTE_ACCELERATORS",
    "COMPUTE_NET_ATTACH_INTERFACE",
    "COMPUTE_ADDRESS_SPACE_EMULATED",
    "COMPUTE_SECURITY_STATELESS_FIRMWARE",
    "COMPUTE_DEVICE_TAGGING",
    "COMPUTE_VOLUME_MULTI_ATTACH",
    "COMPUTE_MEM_BACKING_FILE",
    "COMPUTE_NET_ATTACH_INTERFACE_WITH_TAG",
    "OWNER_NOVA",
    "COMPUTE_IMAGE_TYPE_RAW",
    "COMPUTE_VOLUME_ATTACH_WITH_TAG",
    "COMPUTE_NODE",
    "COMPUTE_TRUSTED_CERTS",
    "COMPUTE_VOLUME_EXTEND",
)
DISABLED_TRAIT = "COMPUTE_STATUS_DISABLED"

Claim = Mapping[str, Mapping[str, int]]
"""Amounts by resource class, by provider uuid."""


@dataclass(slots=True)
class Inventory:
    """How much of one resource class a provider has."""

    total: int
    reserved: int = 0
    allocation_ratio: float = 1.0
    max_unit: int | None = None
    one_time_use: bool = False
    """Nova's one-time-use devices: a claim reserves all of it, until an operator has cleaned it."""

    @property
    def capacity(self) -> int:
        """What may be claimed: (total - reserved) x ratio."""
        return int((self.total - self.reserved) * self.allocation_ratio)


@dataclass(slots=True)
class Provider:
    """A resource provider; a tree is its root and every provider with that root."""

    uuid: str
    name: str
    updated_at: datetime
    root: str
    parent: str | None = None
    generation: int = 0
    inventories: dict[str, Inventory] = field(default_factory=dict)
    used: dict[str, int] = field(default_factory=dict)
    consumers: dict[str, dict[str, int]] = field(default_factory=dict)
    aggregates: list[str] = field(default_factory=list)
    traits: list[str] = field(default_factory=list)
    children: list[str] = field(default_factory=list)
    fragments: dict[str, str] = field(default_factory=dict)

    def fits(self, resource_class: str, amount: int) -> bool:
        """Whether a claim of this amount would be accepted now."""
        inventory = self.inventories.get(resource_class)
        if inventory is None or amount > (inventory.max_unit or inventory.total):
            return False
        return self.used.get(resource_class, 0) + amount <= inventory.capacity

    def touch(self, now: datetime) -> None:
        """Bump the generation, as every write but the deletion of an allocation does."""
        self.generation += 1
        self.updated_at = now
        self.fragments.clear()


@dataclass(slots=True)
class Consumer:
    """Who holds an allocation: a server, or a migration."""

    uuid: str
    project_id: str
    user_id: str
    consumer_type: str = "INSTANCE"
    generation: int = 1
    claim: dict[str, dict[str, int]] = field(default_factory=dict)
    updated_at: datetime | None = None


class Ledger:
    """All providers and consumers; every amount that is claimed is claimed here."""

    def __init__(self) -> None:
        self.providers: dict[str, Provider] = {}
        self.by_name: dict[str, str] = {}
        self.consumers: dict[str, Consumer] = {}
        self.custom_traits: set[str] = set()
        self.classes: set[str] = set()
        """Resource classes that some provider has or had."""

    def add(self, provider: Provider) -> None:
        """Take in a provider; its parent must be known."""
        self.providers[provider.uuid] = provider
        self.by_name[provider.name] = provider.uuid
        self.custom_traits.update(provider.traits)
        self.classes.update(provider.inventories)
        if provider.parent is not None:
            self.providers[provider.root].children.append(provider.uuid)

    def get(self, uuid: str) -> Provider:
        """The provider with this uuid.

        Raises:
            NotFoundError: there is none.
        """
        if (provider := self.providers.get(uuid)) is None:
            raise NotFoundError(f"No resource provider with uuid {uuid} found")
        return provider

    def tree(self, root: str) -> Iterator[Provider]:
        """The root and its children."""
        provider = self.providers[root]
        yield provider
        for child in provider.children:
            yield self.providers[child]

    def roots(self) -> Iterator[Provider]:
        """Every provider without a parent."""
        return (provider for provider in self.providers.values() if provider.parent is None)

    def candidates(self, root: str, wanted: Mapping[str, int], most: int) -> list[dict[str, dict[str, int]]]:
        """Up to `most` ways to claim the wanted amounts from one tree; one provider gives a class."""
        choices: list[list[str]] = []
        for resource_class, amount in wanted.items():
            offers = [p.uuid for p in self.tree(root) if p.fits(resource_class, amount)]
            if not offers:
                return []
            choices.append(offers)
        ways = []
        for picked in itertools.islice(itertools.product(*choices), most):
            way: dict[str, dict[str, int]] = {}
            for uuid, (resource_class, amount) in zip(picked, wanted.items(), strict=True):
                way.setdefault(uuid, {})[resource_class] = amount
            ways.append(way)
        return ways

    def plan(self, root: str, wanted: Mapping[str, int]) -> dict[str, dict[str, int]] | None:
        """Where a server's amounts fit into one tree, GPUs spread over children; None when they do not."""
        way: dict[str, dict[str, int]] = {}
        for resource_class, amount in wanted.items():
            left = amount
            for provider in self.tree(root):
                inventory = provider.inventories.get(resource_class)
                if inventory is None or left == 0:
                    continue
                share = min(left, inventory.capacity - provider.used.get(resource_class, 0))
                if share > 0:
                    way.setdefault(provider.uuid, {})[resource_class] = share
                    left -= share
            if left:
                return None
        return way

    def claim(self, consumer: Consumer, claim: Claim, now: datetime) -> None:
        """Write an allocation; each provider's generation rises by one.

        Raises:
            ConflictError: a provider has not enough left.
        """
        for uuid, amounts in claim.items():
            provider = self.get(uuid)
            for resource_class, amount in amounts.items():
                if not provider.fits(resource_class, amount):
                    raise ConflictError(f"Unable to allocate inventory: {resource_class} on {uuid}")
        for uuid, amounts in claim.items():
            provider = self.providers[uuid]
            for resource_class, amount in amounts.items():
                provider.used[resource_class] = provider.used.get(resource_class, 0) + amount
                if (inventory := provider.inventories[resource_class]).one_time_use:
                    inventory.reserved = inventory.total
            provider.consumers[consumer.uuid] = dict(amounts)
            provider.touch(now)
        consumer.claim = {uuid: dict(amounts) for uuid, amounts in claim.items()}
        consumer.updated_at = now
        self.consumers[consumer.uuid] = consumer

    def release(self, consumer_uuid: str) -> bool:
        """Delete an allocation; generations stay as they are. False when there was none."""
        consumer = self.consumers.pop(consumer_uuid, None)
        if consumer is None:
            return False
        for uuid, amounts in consumer.claim.items():
            provider = self.providers[uuid]
            del provider.consumers[consumer_uuid]
            for resource_class, amount in amounts.items():
                provider.used[resource_class] -= amount
            provider.fragments.clear()
        return True

    def set_aggregates(self, uuid: str, aggregates: list[str], generation: int | None, now: datetime) -> None:
        """Replace a provider's aggregates.

        Raises:
            ConflictError: `generation` is given and no longer the provider's.
        """
        provider = self.get(uuid)
        if generation is not None and generation != provider.generation:
            raise ConflictError(
                "Resource provider's generation already changed. Please update the generation and try again."
            )
        provider.aggregates = list(aggregates)
        if generation is not None:
            provider.touch(now)

    def join(self, uuid: str, aggregate: str, now: datetime) -> None:
        """Mirror a host's entry into an aggregate."""
        provider = self.get(uuid)
        if aggregate not in provider.aggregates:
            provider.aggregates.append(aggregate)
            provider.touch(now)

    def leave(self, uuid: str, aggregate: str, now: datetime) -> None:
        """Mirror a host's exit from an aggregate."""
        provider = self.get(uuid)
        if aggregate in provider.aggregates:
            provider.aggregates.remove(aggregate)
            provider.touch(now)

    def set_trait(self, uuid: str, trait: str, *, present: bool, now: datetime) -> None:
        """Give or take a trait."""
        provider = self.get(uuid)
        if present == (trait in provider.traits):
            return
        if present:
            provider.traits.append(trait)
            self.custom_traits.add(trait)
        else:
            provider.traits.remove(trait)
        provider.touch(now)
