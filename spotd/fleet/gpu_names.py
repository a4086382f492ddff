"""GPUs told by names: resource classes, PCI aliases, tags and flavors, each name read once."""

from collections.abc import Iterable

from spotd.fleet.interpretation import Interpretation, canonical
from spotd.fleet.values import Flavor

MOST_GPUS = 1024
"""More GPUs than this in one flavor's name are no number of GPUs."""


class GpuNames:
    """Reads names for one fleet; names repeat by the thousand, so each answer is kept.

    A GPU type's *key* is what two spellings of it share; `spelled` gives the one that is shown.
    """

    def __init__(
        self, interpretation: Interpretation, aggregate_types: Iterable[str], resource_classes: Iterable[str]
    ) -> None:
        self.interpretation = interpretation
        self._keys: dict[str, str] = {}
        self._classes: dict[str, tuple[bool, str | None]] = {}
        self._tags: dict[str, str | None] = {}
        self._flavors: dict[Flavor, int | None] = {}
        # Most servers share their flavor object: its id saves hashing all the extra specs.
        self._flavors_by_id: dict[int, tuple[Flavor, int | None]] = {}
        self._spellings: dict[str, str] = {}
        class_types = (self.class_type(name) for name in sorted(resource_classes))
        for spellings in (
            sorted(aggregate_types),
            sorted(interpretation.gpus_per_host),
            sorted({*interpretation.class_types.values(), *interpretation.pci_aliases.values()}),
            sorted(interpretation.gpu_tags.values()),
            [name for name in class_types if name is not None],
        ):
            for spelling in spellings:
                self._spellings.setdefault(self.key(spelling), spelling)
        self._per_host = {self.key(name): gpus for name, gpus in sorted(interpretation.gpus_per_host.items())}

    def key(self, gpu_type: str) -> str:
        """What the spellings of one GPU type share; a name without letters or digits stands for itself."""
        key = self._keys.get(gpu_type)
        if key is None:
            key = self._keys[gpu_type] = canonical(gpu_type) or gpu_type
        return key

    def spelled(self, key: str) -> str:
        """The spelling that is shown: the aggregates', the configuration's or the resource class's."""
        return self._spellings.get(key, key)

    def per_host(self, key: str) -> int | None:
        """GPUs in a host of this type by the configuration."""
        return self._per_host.get(key)

    def is_gpu_class(self, resource_class: str) -> bool:
        """Whether units of the resource class are GPUs."""
        return self._class(resource_class)[0]

    def class_type(self, resource_class: str) -> str | None:
        """The GPU type that a resource class spells; None where it spells none, or is no GPU class."""
        return self._class(resource_class)[1]

    def tag_type(self, tag: str) -> str | None:
        """The GPU type that a NetBox tag stands for; None: it is no GPU tag."""
        if tag not in self._tags:
            self._tags[tag] = self.interpretation.gpu_tags.get(tag) or self._known_type(tag)
        return self._tags[tag]

    def flavor_gpus(self, flavor: Flavor) -> int | None:
        """GPUs that a server of this flavor holds; None where nothing tells."""
        seen = self._flavors_by_id.get(id(flavor))
        if seen is not None:
            return seen[1]
        if flavor not in self._flavors:
            self._flavors[flavor] = self._count(flavor)
        gpus = self._flavors[flavor]
        # The flavor is kept beside its answer so that its id cannot pass to another one.
        self._flavors_by_id[id(flavor)] = (flavor, gpus)
        return gpus

    def _class(self, resource_class: str) -> tuple[bool, str | None]:
        if resource_class not in self._classes:
            self._classes[resource_class] = self._read_class(resource_class)
        return self._classes[resource_class]

    def _read_class(self, resource_class: str) -> tuple[bool, str | None]:
        if (configured := self.interpretation.class_types.get(resource_class)) is not None:
            return True, configured
        for pattern in self.interpretation.resource_classes:
            if (match := pattern.fullmatch(resource_class)) is not None:
                return True, match.groupdict().get("gpu_type") or None
        return False, None

    def _known_type(self, name: str) -> str | None:
        key = self.key(name)
        return name if key in self._spellings else None

    def _count(self, flavor: Flavor) -> int | None:
        classes = [count for name, count in flavor.resources if self.is_gpu_class(name)]
        if classes:
            return sum(classes)
        aliases = [
            count
            for alias, count in flavor.pci_aliases
            if alias in self.interpretation.pci_aliases or self._known_type(alias) is not None
        ]
        if aliases:
            return sum(aliases)
        match = self.interpretation.flavor_name.fullmatch(flavor.name)
        if match is not None and (digits := match.group("gpus")) is not None:
            return _number(digits)
        # An alias that stands for no known type may be a GPU or a network card: unknown, not none.
        return 0 if flavor.extra_specs_known and not flavor.pci_aliases else None


def _number(digits: str) -> int | None:
    try:
        number = int(digits)
    except ValueError:  # a pattern's group need not be digits, and Python refuses more than 4,300
        return None
    return number if 0 <= number <= MOST_GPUS else None
