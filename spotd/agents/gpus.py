"""The GPUs agent: Placement's counts for all hypervisors, then only for those whose servers changed."""

import re
from collections.abc import Mapping
from datetime import datetime

from spotd.agents.state import Changes, Outcome
from spotd.clock import Clock
from spotd.clouds.errors import incomplete
from spotd.clouds.placement import Placement, TreeCounts
from spotd.fleet.interpretation import NEVER_GPUS
from spotd.fleet.readings import Reading, Source
from spotd.fleet.values import GpuCount, Gpus, ProviderTree

COMMON_CLASSES = ("MEMORY_MB", "VCPU", "DISK_GB")
"""Asked in this order until no hypervisor is missing: an answer leaves out trees full in its class."""

SINGLE_TREES = 2
"""Up to so many changed hosts are asked for one by one; more are cheaper in one request for all."""

FULL_TREES = 3
"""Hypervisors full in every common class are read provider by provider, up to so many in a refresh."""


class GpusAgent:
    """Keeps the GPU counts of all hypervisors; one thread at a time may call `collect`."""

    def __init__(
        self,
        placement: Placement,
        clock: Clock,
        *,
        gpu_classes: tuple[re.Pattern[str], ...],
        class_types: Mapping[str, str],
        full_resync_seconds: float,
        wait_seconds: float,
    ) -> None:
        self._placement = placement
        self._clock = clock
        self._patterns = gpu_classes
        self._class_types = class_types
        self._full_resync_seconds = full_resync_seconds
        self._wait_seconds = wait_seconds
        self._names: dict[str, str] = {}
        self._trees: dict[str, ProviderTree] = {}
        self._unread: tuple[str, ...] = ()
        self._full_read_at: datetime | None = None
        self._full_at: float | None = None
        self._is_gpu: dict[str, bool] = {}
        self._turn = 0
        self._is_current = False

    def resume(self, gpus: Gpus) -> None:
        """Shows stored counts until the first full read, which the next `collect` makes."""
        self._trees = {tree.uuid: tree for tree in gpus.trees.values()}

    def collect(self, changes: Changes, *, force: bool = False) -> Outcome:
        """GPU counts of every hypervisor, each with the time it was read.

        Raises:
            CloudError: No whole answer.
        """
        read_at = self._clock.now()
        # What a failed run was told of is not told again: only a full read makes up for it.
        full = force or not self._is_current or self._full_is_due()
        self._is_current = False
        if not full:
            # Asked while Nova is still answering what changed: a quiet refresh then waits for nobody in turn.
            self._look_in(read_at)
        changed = None if full else changes.wait(self._wait_seconds)
        if changed is None or not self._read_changed(changed, read_at):
            self._read_all(read_at)
        self._is_current = True
        full_read_at = self._full_read_at or read_at
        value = Gpus(
            trees={tree.name: tree for tree in self._trees.values()},
            full_read_at=full_read_at,
            unread=self._unread,
        )
        reading: Reading[object] = Reading(value=value, read_at=read_at)
        return Outcome(readings={Source.GPUS: reading}, items={"hypervisors": len(self._trees)})

    def _full_is_due(self) -> bool:
        return self._full_at is None or self._clock.monotonic() - self._full_at >= self._full_resync_seconds

    def _read_changed(self, hypervisors: frozenset[str], read_at: datetime) -> bool:
        """Reads the trees of these hypervisors; False where that is not possible or not cheaper than all."""
        if not hypervisors:
            return bool(self._trees)
        wanted = [root for root, tree in self._trees.items() if tree.name in hypervisors]
        if len(hypervisors) > SINGLE_TREES or len(wanted) != len(hypervisors):
            return False
        for root in wanted:
            found = self._placement.summaries(COMMON_CLASSES[0], root=root).get(root)
            if found is None:  # full in memory: only the longer ways can tell
                return False
            self._trees[root] = self._tree(root, found, read_at)
        return True

    def _look_in(self, read_at: datetime) -> None:
        """Reads one tree, each in its turn, whether or not one changed: so that an outage shows at once.

        A tree that is full in memory is passed over: that it is full says nothing new.
        """
        if not self._trees:
            return
        self._turn += 1
        root = sorted(self._trees)[self._turn % len(self._trees)]
        found = self._placement.summaries(COMMON_CLASSES[0], root=root).get(root)
        if found is not None:
            self._trees[root] = self._tree(root, found, read_at)

    def _read_all(self, read_at: datetime) -> None:
        found: dict[str, TreeCounts] = {}
        missing: set[str] = set()
        for resource_class in COMMON_CLASSES:
            found = self._placement.summaries(resource_class) | found
            if not found.keys() <= self._names.keys() or not self._names:
                self._read_names()
            missing = self._names.keys() - found.keys()
            if not missing:
                break
            if resource_class == COMMON_CLASSES[0]:
                # A provider that left is missing for ever: look once whether it still is there.
                self._read_names()
                missing = self._names.keys() - found.keys()
                if not missing:
                    break
        if not found and self._trees:
            raise incomplete("placement: no provider at all, where there were some before")
        for root in sorted(missing, key=self._names.__getitem__)[:FULL_TREES]:
            found[root] = self._placement.tree(root)
            missing.discard(root)
        self._trees = {
            root: self._tree(root, counts, read_at) for root, counts in found.items() if root in self._names
        }
        self._unread = tuple(sorted(self._names[root] for root in missing))
        self._full_read_at, self._full_at = read_at, self._clock.monotonic()

    def _read_names(self) -> None:
        providers = self._placement.providers()
        if not providers and self._names:
            raise incomplete("placement: no provider at all, where there were some before")
        self._names = {
            provider.uuid: provider.name for provider in providers if provider.root == provider.uuid
        }

    def _tree(self, root: str, counts: TreeCounts, read_at: datetime) -> ProviderTree:
        gpus: dict[str, GpuCount] = {
            name: count for name, count in counts.classes.items() if self._counts(name)
        }
        is_allocated = any(count.used for count in counts.classes.values())
        return ProviderTree(
            uuid=root, name=self._names[root], gpus=gpus, read_at=read_at, is_allocated=is_allocated
        )

    def _counts(self, resource_class: str) -> bool:
        if resource_class not in self._is_gpu:
            # A class that nobody explains is kept: the fleet tells that it may be GPUs.
            self._is_gpu[resource_class] = (
                resource_class not in NEVER_GPUS
                or resource_class in self._class_types
                or any(pattern.fullmatch(resource_class) for pattern in self._patterns)
            )
        return self._is_gpu[resource_class]
