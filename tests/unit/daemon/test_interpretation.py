"""From the settings to how names are read."""

import re

from spotd.daemon.interpretation import interpretation_of
from spotd.fleet.interpretation import NamePattern
from spotd.settings.models import AggregatePattern, AggregateSettings, GpuSettings, NetBoxSettings, Settings


def test_takes_over_every_setting_that_says_how_names_are_read() -> None:
    settings = Settings(
        aggregates=AggregateSettings(patterns=(AggregatePattern(name="a", pool="spot", variant="v"),)),
        gpus=GpuSettings(
            resource_classes=("X",),
            other_classes=("Z",),
            class_types={"C": "c"},
            pci_aliases={"p": "q"},
            per_host={"H100": 8},
            flavor_name=r"y(?P<gpus>\d)",
        ),
        netbox=NetBoxSettings(
            url="https://netbox.example.com", token="secret", gpu_tags={"t": "T"}, gpu_roles=("gpu",)
        ),
    )

    found = interpretation_of(settings)

    assert found.patterns == (NamePattern(name=re.compile("a"), pool="spot", variant="v"),)
    assert found.resource_classes == (re.compile("X"),)
    assert found.other_classes == (re.compile("Z"),)
    assert (found.class_types, found.pci_aliases, found.gpus_per_host) == (
        {"C": "c"},
        {"p": "q"},
        {"H100": 8},
    )
    assert (found.gpu_tags, found.gpu_roles) == ({"t": "T"}, frozenset({"gpu"}))
    assert found.flavor_name.pattern == r"y(?P<gpus>\d)"


def test_there_are_no_tags_and_roles_without_netbox() -> None:
    found = interpretation_of(Settings())

    assert (found.gpu_tags, found.gpu_roles) == ({}, frozenset())
