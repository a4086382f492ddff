"""The GPUs agent: Placement's counts for all hypervisors, then only for those whose servers changed."""

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from spotd.agents.state import Changes, Outcome
from spotd.clock import Clock
from spotd.clouds.errors import CloudError, Failure, incomplete, malformed
from spotd.clouds.placement import COMMON_CLASSES, Placement, TreeCounts
from spotd.fleet.interpretation import NEVER_GPUS
from spotd.fleet.readings import Reading, Source
from spotd.fleet.values import GpuCount, Gpus, ProviderTree

OTHER_CLASSES = 8
"""Then up to so many that trees are known to have and that may be GPUs: one of those may be free."""

MACHINE = frozenset({"MEMORY_MB", "VCPU", "PCPU"})
"""What every compute host offers some of. A bare-metal node offers one unit of a class of its own alone."""

SINGLE_TREES = 2
"""Up to so many changed hosts are asked for one by one; more are cheaper in one request for all."""

FULL_TREES = 3
"""Hypervisors full in every class are read provider by provider, up to so many in a refresh, in turn."""

OF_ONE_TREE = frozenset({Failure.NOT_FOUND, Failure.MALFORMED, Failure.SERVER_ERROR})
"""Failures after which the other trees may still be read: Placement has just answered for all of them."""

NAMED = 20
"""Unread trees named in a line of the log."""

MOST_UNITS = 100_000
"""More GPUs, or shares of them, than this has no host: a card is shared by some hundred at most."""

log = structlog.get_logger(__name__)


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
        max_age_seconds: float = 900.0,
    ) -> None:
        """`max_age_seconds`: how long a full tree keeps its last counts while its turn to be read comes."""
        self._placement = placement
        self._clock = clock
        self._patterns = gpu_classes
        self._class_types = class_types
        self._full_resync_seconds = full_resync_seconds
        self._wait_seconds = wait_seconds
        self._max_age = timedelta(seconds=max_age_seconds)
        self._names: dict[str, str] = {}
        self._marks: dict[str, tuple[tuple[str, int], ...]] = {}
        """Generations of each tree's providers: they change with every claim, inventory and reservation."""
        self._read_at_mark: dict[str, tuple[tuple[str, int], ...]] = {}
        """Trees that were read by themselves, with the generations before that."""
        self._found: frozenset[str] = frozenset()
        """Trees that had a unit of some class free when all were last asked for."""
        self._tried: dict[str, int] = {}
        """When each tree was last tried by itself, as a running number: who waits longest comes next."""
        self._tries = 0
        self._due: list[str] = []
        """Trees that nothing but reading them by themselves tells of, and that wait for it."""
        self._classes: set[str] = set()
        self._trees: dict[str, ProviderTree] = {}
        self._roots: dict[str, str] = {}
        """Root provider by hypervisor hostname."""
        self._unread: tuple[str, ...] = ()
        self._named: tuple[str, ...] = ()
        """The unread trees that the log knows of."""
        self._full_read_at: datetime | None = None
        self._full_at: float | None = None
        self._is_gpu: dict[str, bool] = {}
        self._turn = 0
        self._is_current = False

    def resume(self, gpus: Gpus) -> None:
        """Shows stored counts until the first full read, which the next `collect` makes."""
        self._trees = {tree.uuid: tree for tree in gpus.trees.values()}

    def distrust(self) -> None:
        """Another source contradicts the counts: the next `collect` reads all."""
        self._is_current = False

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
        for name in changed or ():
            # A server left or came: what was read before proves nothing any more.
            self._read_at_mark.pop(self._roots.get(name, ""), None)
        if changed is None or not self._read_changed(changed, read_at):
            self._read_all(read_at)
        elif self._due:
            self._read_due(read_at)
        self._is_current = True
        self._name_unread()
        value = Gpus(
            trees={tree.name: tree for tree in self._trees.values()},
            full_read_at=self._full_read_at or read_at,
            unread=self._unread,
        )
        reading: Reading[object] = Reading(value=value, read_at=read_at)
        return Outcome(readings={Source.GPUS: reading}, items={"hypervisors": len(self._trees)})

    def _full_is_due(self) -> bool:
        return self._full_at is None or self._clock.monotonic() - self._full_at >= self._full_resync_seconds

    def _read_changed(self, hypervisors: frozenset[str], read_at: datetime) -> bool:
        """Reads the trees of these hypervisors; False where that is not possible or not cheaper than all."""
        hypervisors -= {tree.name for tree in self._trees.values() if tree.is_bare_metal}
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
        roots = sorted(root for root, tree in self._trees.items() if not tree.is_bare_metal)
        if not roots:
            return
        self._turn += 1
        root = roots[self._turn % len(roots)]
        found = self._placement.summaries(COMMON_CLASSES[0], root=root).get(root)
        if found is not None:
            self._trees[root] = self._tree(root, found, read_at)

    def _read_all(self, read_at: datetime) -> None:
        marks = self._marks
        found = self._placement.summaries(COMMON_CLASSES[0])
        missing = self._names.keys() - found.keys()
        if missing or not self._names or not found.keys() <= self._names.keys():
            # A provider that left is missing for ever: look whether it still is there, and what was claimed.
            self._read_names()
            missing = self._names.keys() - found.keys()
        for resource_class in self._further_classes(found):
            if not any(map(self._may_be_full, missing)):
                break
            found = self._placement.summaries(resource_class) | found
            missing = self._names.keys() - found.keys()
        if not found and any(root in marks and marks[root] == self._marks.get(root) for root in self._found):
            raise incomplete("placement: nothing is free anywhere, though nobody claimed what was free")
        self._found = frozenset(found)
        for root in found:
            self._read_at_mark.pop(root, None)
        trees = {
            root: self._tree(root, counts, read_at) for root, counts in found.items() if root in self._names
        }
        trees.update((root, tree) for root in missing if (tree := self._kept(root, read_at)) is not None)
        self._trees = trees
        self._due = [root for root in missing if self._is_due(root)]
        if not self._due:
            # Generations tell of every claim; an allocation that only went away would not show: look in turn.
            self._due = sorted(filter(self._may_be_full, missing), key=self._turn_of)[:1]
        self._read_due(read_at)
        self._full_read_at, self._full_at = read_at, self._clock.monotonic()

    def _further_classes(self, found: Mapping[str, TreeCounts]) -> tuple[str, ...]:
        """Classes of which a tree may have a unit free that is full in memory."""
        self._classes.update(name for counts in found.values() for name in counts.classes)
        others = sorted(filter(self._counts, self._classes), key=lambda name: (not self._is_sure(name), name))
        if "PCPU" in self._classes:
            others.insert(0, "PCPU")
        return (*COMMON_CLASSES[1:], *others[:OTHER_CLASSES])

    def _may_be_full(self, root: str) -> bool:
        """Whether a tree that is missing from an answer may be a hypervisor without a unit of the class free.

        Nova gives a bare-metal node's provider the node's uuid as its name too; another one is known by what
        it was read to have.
        """
        tree = self._trees.get(root)
        return root != self._names[root] and (tree is None or not tree.is_bare_metal)

    def _is_due(self, root: str) -> bool:
        """Whether nothing proves what was read of a missing tree, or nothing was."""
        if root == self._names[root]:
            return False
        return root not in self._trees or self._read_at_mark.get(root) != self._marks[root]

    def _kept(self, root: str, read_at: datetime) -> ProviderTree | None:
        """What is known of a tree that no answer tells of; None: nothing that can be shown."""
        before = self._trees.get(root)
        if before is None or before.name != self._names[root]:
            if root != self._names[root]:
                return None
            return ProviderTree(uuid=root, name=root, gpus={}, read_at=read_at, is_bare_metal=True)
        if before.is_bare_metal or self._read_at_mark.get(root) == self._marks[root]:
            # Nothing was claimed since, and had anything been freed it would not be missing.
            return replace(before, read_at=read_at)
        # It is full: counts by which nothing is allocated on it are surely wrong by now.
        return before if before.is_allocated and read_at - before.read_at <= self._max_age else None

    def _read_due(self, read_at: datetime) -> None:
        """Reads some of the trees that wait for it by themselves, and tells which are not known."""
        due = sorted(self._due, key=self._turn_of)
        for root in due[:FULL_TREES]:
            self._tries += 1
            self._tried[root] = self._tries
            try:
                counts = self._placement.tree(root)
            except CloudError as error:
                # One row that cannot be read must not cost the others theirs, nor all trees their counts.
                if error.reason not in OF_ONE_TREE:
                    raise
                continue
            self._classes.update(counts.classes)
            self._trees[root] = self._tree(root, counts, read_at)
            self._read_at_mark[root] = self._marks[root]
            self._due.remove(root)
        self._unread = tuple(sorted(self._names[root] for root in self._names.keys() - self._trees.keys()))

    def _turn_of(self, root: str) -> tuple[int, str]:
        return self._tried.get(root, 0), self._names[root]

    def _name_unread(self) -> None:
        """One line for each change."""
        if self._unread == self._named:
            return
        self._named = self._unread
        if self._unread:
            log.warning(
                "provider trees not read yet",
                hypervisors=list(self._unread[:NAMED]),
                count=len(self._unread),
                in_a_refresh=FULL_TREES,
            )
        else:
            log.info("all provider trees read")

    def _read_names(self) -> None:
        providers = self._placement.providers()
        if not providers and self._names:
            raise incomplete("placement: no provider at all, where there were some before")
        self._names = {
            provider.uuid: provider.name for provider in providers if provider.root == provider.uuid
        }
        self._roots = {name: root for root, name in self._names.items()}
        marks: dict[str, list[tuple[str, int]]] = {root: [] for root in self._names}
        for provider in providers:
            if provider.root in marks:
                marks[provider.root].append((provider.uuid, provider.generation))
        self._marks = {root: tuple(sorted(theirs)) for root, theirs in marks.items()}
        for gone in self._tried.keys() - self._names.keys():
            del self._tried[gone]
            self._read_at_mark.pop(gone, None)

    def _tree(self, root: str, counts: TreeCounts, read_at: datetime) -> ProviderTree:
        gpus: dict[str, GpuCount] = {
            name: count for name, count in counts.classes.items() if self._counts(name)
        }
        for name, count in gpus.items():
            if max(count.capacity, count.used) > MOST_UNITS and self._is_sure(name):
                raise malformed(f"placement: {self._names[root]} has an absurd number of {name}")
        is_allocated = any(count.used for count in counts.classes.values())
        return ProviderTree(
            uuid=root,
            name=self._names[root],
            gpus=gpus,
            read_at=read_at,
            is_allocated=is_allocated,
            is_bare_metal=MACHINE.isdisjoint(counts.classes) and any(map(_is_custom, counts.classes)),
        )

    def _counts(self, resource_class: str) -> bool:
        if resource_class not in self._is_gpu:
            # A class that nobody explains is kept: the fleet tells that it may be GPUs.
            is_kept = resource_class not in NEVER_GPUS or self._is_sure(resource_class)
            self._is_gpu[resource_class] = is_kept
        return self._is_gpu[resource_class]

    def _is_sure(self, resource_class: str) -> bool:
        return resource_class in self._class_types or any(
            pattern.fullmatch(resource_class) for pattern in self._patterns
        )


def _is_custom(resource_class: str) -> bool:
    return resource_class.startswith("CUSTOM_")
