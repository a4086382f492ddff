"""From the settings to the plain values by which the fleet reads names."""

import re

from spotd.fleet.interpretation import Interpretation, NamePattern
from spotd.settings.models import Settings


def interpretation_of(settings: Settings) -> Interpretation:
    """How this configuration reads aggregates, resource classes, aliases, tags and flavors."""
    gpus, netbox = settings.gpus, settings.netbox
    return Interpretation(
        patterns=tuple(
            NamePattern(name=re.compile(pattern.name), pool=pattern.pool, variant=pattern.variant)
            for pattern in settings.aggregates.patterns
        ),
        resource_classes=tuple(map(re.compile, gpus.resource_classes)),
        other_classes=tuple(map(re.compile, gpus.other_classes)),
        class_types=dict(gpus.class_types),
        pci_aliases=dict(gpus.pci_aliases),
        gpu_tags=dict(netbox.gpu_tags) if netbox is not None else {},
        gpu_roles=frozenset(netbox.gpu_roles) if netbox is not None else frozenset(),
        gpus_per_host=dict(gpus.per_host),
        flavor_name=re.compile(gpus.flavor_name),
    )
