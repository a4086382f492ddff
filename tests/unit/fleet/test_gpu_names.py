"""GPUs told by names."""

import re

import pytest
from fleets import default_interpretation, named_flavor

from spotd.fleet.gpu_names import GpuNames
from spotd.fleet.values import Flavor


def names(aggregate_types: tuple[str, ...] = ("RTX-A6000",), **changes: object) -> GpuNames:
    return GpuNames(default_interpretation(**changes), aggregate_types, ("CUSTOM_GPU_L40", "VCPU"))


@pytest.mark.parametrize(
    ("resource_class", "is_gpu", "gpu_type"),
    [
        pytest.param("CUSTOM_GPU_RTX_A6000", True, "RTX_A6000", id="spells its type"),
        pytest.param("CUSTOM_VGPU_L40", True, "L40", id="virtual GPU of a type"),
        pytest.param("VGPU", True, None, id="virtual GPU"),
        pytest.param("PGPU", True, None, id="physical GPU"),
        pytest.param("CUSTOM_PCI_10DE_2330", True, "H100", id="configured"),
        pytest.param("VCPU", False, None, id="no GPU"),
        pytest.param("CUSTOM_GPU_", False, None, id="no type"),
    ],
)
def test_reads_resource_classes(resource_class: str, is_gpu: bool, gpu_type: str | None) -> None:
    reader = names(class_types={"CUSTOM_PCI_10DE_2330": "H100"})

    assert (is_gpu, gpu_type) == (reader.is_gpu_class(resource_class), reader.class_type(resource_class))


@pytest.mark.parametrize(
    ("tag", "gpu_type"),
    [
        pytest.param("rtx-a6000", "rtx-a6000", id="spells an aggregate's type"),
        pytest.param("l40", "l40", id="spells a resource class's type"),
        pytest.param("nvidia-h100-pcie", "H100", id="configured"),
        pytest.param("production", None, id="no GPU tag"),
    ],
)
def test_reads_tags(tag: str, gpu_type: str | None) -> None:
    assert gpu_type == names(gpu_tags={"nvidia-h100-pcie": "H100"}).tag_type(tag)


def test_shows_the_aggregates_spelling_before_the_configurations_and_the_classes() -> None:
    reader = names(gpus_per_host={"rtx_a6000": 8, "H100-sxm": 4})

    spelled = [reader.spelled(reader.key(name)) for name in ("Rtx A6000", "h100_SXM", "l40", "B200")]

    assert spelled == ["RTX-A6000", "H100-sxm", "L40", "B200"]


def test_a_type_without_letters_stands_for_itself() -> None:
    assert names().key("é") == "é"


def test_the_number_per_host_is_found_by_any_spelling() -> None:
    reader = names(gpus_per_host={"rtx_a6000": 8})

    assert reader.per_host(reader.key("RTX-A6000")) == 8


@pytest.mark.parametrize(
    ("flavor", "gpus"),
    [
        pytest.param(Flavor(name="any", resources=(("CUSTOM_GPU_H100", 2), ("VGPU", 1))), 3, id="classes"),
        pytest.param(
            Flavor(name="n3-x8", resources=(("CUSTOM_GPU_H100", 2),), pci_aliases=(("rtx-a6000", 4),)),
            2,
            id="classes go before aliases and names",
        ),
        pytest.param(Flavor(name="any", resources=(("VCPU", 4),)), 0, id="another class"),
        pytest.param(
            Flavor(name="n3-x8", pci_aliases=(("rtx-a6000", 4), ("nic", 1))), 4, id="alias of a type"
        ),
        pytest.param(Flavor(name="any", pci_aliases=(("gpu0", 2),)), 2, id="configured alias"),
        pytest.param(
            Flavor(name="n3-x8", pci_aliases=(("mystery", 1),)), 8, id="name where the alias is unknown"
        ),
        pytest.param(Flavor(name="any", pci_aliases=(("mystery", 1),)), None, id="unknown alias"),
        pytest.param(Flavor(name="any", pci_aliases=(("mystery", 0),)), 0, id="none of an unknown alias"),
        pytest.param(Flavor(name="any", pci_aliases=(("nic", 2),)), 0, id="an alias that is no GPU"),
        pytest.param(Flavor(name="any", resources=(("CUSTOM_NIC", 2),)), 0, id="a class that is no GPU"),
        pytest.param(
            Flavor(name="n3-x8", resources=(("CUSTOM_X", 2),)), None, id="a class of which nobody says"
        ),
        pytest.param(
            Flavor(name="any", resources=(("CUSTOM_GPU_H100", 2), ("CUSTOM_X", 1))),
            None,
            id="beside one of GPUs",
        ),
        pytest.param(named_flavor("n3-RTX-A6000x8"), 8, id="name"),
        pytest.param(named_flavor("cpu.large"), 0, id="no GPUs"),
        pytest.param(named_flavor("cpu.large", extra_specs_known=False), None, id="hidden extra specs"),
        pytest.param(named_flavor("n3-x" + "9" * 5000), None, id="more digits than Python reads"),
        pytest.param(named_flavor("n3-x5000"), None, id="more GPUs than there can be"),
    ],
)
def test_counts_a_flavors_gpus(flavor: Flavor, gpus: int | None) -> None:
    other = (re.compile("nic"), re.compile("CUSTOM_NIC"))
    reader = names(pci_aliases={"gpu0": "B200"}, other_classes=other)

    assert gpus == reader.flavor_gpus(flavor)
    assert gpus == reader.flavor_gpus(flavor)


def test_equal_flavors_are_read_once() -> None:
    reader = names()

    assert reader.flavor_gpus(named_flavor("n3-x8")) == reader.flavor_gpus(named_flavor("n3-x8")) == 8


def test_a_flavor_pattern_whose_group_takes_no_part_tells_nothing() -> None:
    reader = names(flavor_name=re.compile(r"gpu(x(?P<gpus>\d))?"))

    assert reader.flavor_gpus(named_flavor("gpu")) == 0
