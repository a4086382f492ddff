"""GPUs told by names: resource classes, PCI aliases, tags and flavors, each name read once."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from spotd.fleet.interpretation import NEVER_GPUS, Interpretation, canonical
from spotd.fleet.values import Flavor

MOST_GPUS = 1024
"""More GPUs than this in one flavor's name are no number of GPUs."""

SHARES = re.compile(r"(CUSTOM_)?(VGPU|MIG)(_.+)?")
"""Resource classes whose units are shares of a card. Source: os-resource-classes, `VGPU`; NVIDIA's MIG."""


@dataclass(frozen=True, slots=True)
class _FlavorGpus:
    gpus: int | None
    """None where nothing tells."""
    is_proof: bool
    """Whether the flavor says GPUs, and not only that there are some number of something."""
    unexplained: frozenset[str] = frozenset()
    """Resource classes that it asks for and that nobody explains: then `gpus` is None."""
    aliases: frozenset[str] = frozenset()
    """PCI aliases that it asks for and that nobody explains, where nothing else tells its GPUs."""


class GpuNames:
    """Reads names for one fleet; names repeat by the thousand, so each answer is kept.

    A GPU type's *key* is what two spellings of it share; `spelled` gives the one that is shown.
    """

    def __init__(
        self, interpretation: Interpretation, aggregate_types: Iterable[str], resource_classes: Iterable[str]
    ) -> None:
        self.interpretation = interpretation
        self._keys: dict[str, str] = {}
        self._classes: dict[str, tuple[bool | None, str | None]] = {}
        self._tags: dict[str, str | None] = {}
        self._flavors: dict[Flavor, _FlavorGpus] = {}
        # Most servers share their flavor object: its id saves hashing all the extra specs.
        self._flavors_by_id: dict[int, tuple[Flavor, _FlavorGpus]] = {}
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
        """Whether units of the resource class are surely GPUs."""
        return self._class(resource_class)[0] is True

    def explains(self, resource_class: str) -> bool:
        """Whether it is known that units of the resource class are GPUs, or that they are none."""
        return self._class(resource_class)[0] is not None

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
        return self._flavor(flavor).gpus

    def proves_gpus(self, flavor: Flavor) -> bool:
        """Whether a server of this flavor proves that its host has GPUs.

        A name that ends in a number proves it only where it names a known GPU type too: `cpu-x4` may be four
        of anything.
        """
        found = self._flavor(flavor)
        return found.gpus != 0 and found.is_proof

    def unexplained(self, flavor: Flavor) -> frozenset[str]:
        """Resource classes that the flavor asks for and that nobody explains."""
        return self._flavor(flavor).unexplained

    def unexplained_aliases(self, flavor: Flavor) -> frozenset[str]:
        """PCI aliases of the flavor that nobody explains, where nothing else tells its GPUs."""
        return self._flavor(flavor).aliases

    def _flavor(self, flavor: Flavor) -> _FlavorGpus:
        seen = self._flavors_by_id.get(id(flavor))
        if seen is not None:
            return seen[1]
        if flavor not in self._flavors:
            self._flavors[flavor] = self._count(flavor)
        found = self._flavors[flavor]
        # The flavor is kept beside its answer so that its id cannot pass to another one.
        self._flavors_by_id[id(flavor)] = (flavor, found)
        return found

    def _class(self, resource_class: str) -> tuple[bool | None, str | None]:
        if resource_class not in self._classes:
            self._classes[resource_class] = self._read_class(resource_class)
        return self._classes[resource_class]

    def _read_class(self, resource_class: str) -> tuple[bool | None, str | None]:
        if (configured := self.interpretation.class_types.get(resource_class)) is not None:
            return True, configured
        if self._is_other(resource_class):
            return False, None
        for pattern in self.interpretation.resource_classes:
            if (match := pattern.fullmatch(resource_class)) is not None:
                return True, match.groupdict().get("gpu_type") or None
        return False if resource_class in NEVER_GPUS else None, None

    def _known_type(self, name: str) -> str | None:
        key = self.key(name)
        return name if key in self._spellings else None

    def _names_type(self, text: str) -> bool:
        """Whether one of the text's words, or several in a row, are a known GPU type."""
        words = f"_{self.key(text)}_"
        return any(f"_{key}_" in words for key in self._spellings)

    def _count(self, flavor: Flavor) -> _FlavorGpus:
        classes = [count for name, count in flavor.resources if self.is_gpu_class(name)]
        if unexplained := {name for name, count in flavor.resources if count and not self.explains(name)}:
            # The class may be GPUs beside those that are known: no number here would be the whole one.
            return _FlavorGpus(None, is_proof=any(classes), unexplained=frozenset(unexplained))
        if classes:
            return _FlavorGpus(sum(classes), is_proof=any(classes))
        aliases = [
            count
            for alias, count in flavor.pci_aliases
            if alias in self.interpretation.pci_aliases or self._known_type(alias) is not None
        ]
        if aliases:
            return _FlavorGpus(sum(aliases), is_proof=any(aliases))
        match = self.interpretation.flavor_name.fullmatch(flavor.name)
        if match is not None and (digits := match.group("gpus")) is not None:
            named = flavor.name[: match.start("gpus")].removesuffix("x")
            number = _number(digits)
            return _FlavorGpus(number, is_proof=bool(number) and self._names_type(named))
        # An alias that stands for no known type may be a GPU or a network card: unknown, not none.
        unknown = frozenset(
            alias for alias, count in flavor.pci_aliases if count and not self._is_other(alias)
        )
        gpus = 0 if flavor.extra_specs_known and not unknown else None
        return _FlavorGpus(gpus, is_proof=False, aliases=unknown)

    def _is_other(self, name: str) -> bool:
        return any(pattern.fullmatch(name) for pattern in self.interpretation.other_classes)


def _number(digits: str) -> int | None:
    try:
        number = int(digits)
    except ValueError:  # a pattern's group need not be digits, and Python refuses more than 4,300
        return None
    return number if 0 <= number <= MOST_GPUS else None
