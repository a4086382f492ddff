"""The GPUs agent asks for what changed, and knows what it has not read."""

import re
from typing import Any

import pytest
from standing import START, Clock
from structlog.testing import capture_logs

from spotd.agents.gpus import FULL_TREES, GpusAgent
from spotd.agents.state import Changes, Outcome
from spotd.clouds.errors import CloudError, Failure
from spotd.clouds.placement import COMMON_CLASSES, Provider, TreeCounts
from spotd.fleet.readings import Source
from spotd.fleet.values import GpuCount, Gpus

GPU = "CUSTOM_GPU_H100"
NODE = "CUSTOM_GOLD"


class FakePlacement:
    """Trees with one root each; full classes leave a tree out of a summary, as Placement does."""

    def __init__(self, hosts: int) -> None:
        self.used: dict[str, dict[str, int]] = {}
        self.asked: list[str] = []
        self.failure: CloudError | None = None
        self.broken: set[str] = set()
        self.generations: dict[str, int] = {}
        for number in range(hosts):
            self.add(f"h{number}")

    def add(self, name: str, **used: int) -> None:
        self.used[name] = {"MEMORY_MB": 0, "VCPU": 0, "DISK_GB": 0, GPU: 0} | used

    def counts(self, name: str) -> TreeCounts:
        return TreeCounts({cls: GpuCount(capacity=8, used=used) for cls, used in self.used[name].items()})

    def fill(self, *names: str) -> None:
        for name in names:
            self.add(name)
            self.claim(name, MEMORY_MB=8, VCPU=8, DISK_GB=8, **{GPU: 8})

    def add_nodes(self, *names: str) -> None:
        """Bare-metal nodes: one unit of one class and nothing else."""
        for name in names:
            self.used[name] = {NODE: 8}

    def claim(self, name: str, **used: int) -> None:
        self.used[name] |= used
        self.generations[name] = self.generations.get(name, 1) + 1

    def providers(self) -> tuple[Provider, ...]:
        self._ask("providers")
        roots = [
            Provider(uuid=f"u-{name}", name=name, root=f"u-{name}", generation=self.generations.get(name, 1))
            for name in self.used
        ]
        child = Provider(uuid="child", name="h0_gpu", root="u-h0", generation=1)
        return (*roots, child) if roots else ()

    def summaries(self, resource_class: str, *, root: str | None = None) -> dict[str, TreeCounts]:
        self._ask(f"{resource_class} {root}" if root else resource_class)
        return {
            f"u-{name}": self.counts(name)
            for name, used in self.used.items()
            if used.get(resource_class, 8) < 8 and root in (None, f"u-{name}")
        }

    def tree(self, root: str) -> TreeCounts:
        self._ask(f"tree {root}")
        if root.removeprefix("u-") in self.broken:
            raise CloudError(Failure.SERVER_ERROR, "500")
        return self.counts(root.removeprefix("u-"))

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.failure is not None:
            raise self.failure


LOOKED_IN = "MEMORY_MB u-h1"
"""What is asked before it is known what changed: the tree whose turn it is."""


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def placement() -> FakePlacement:
    return FakePlacement(4)


@pytest.fixture
def agent(placement: Any, clock: Clock) -> GpusAgent:
    return GpusAgent(
        placement,
        clock,
        gpu_classes=(re.compile("CUSTOM_GPU_.+"),),
        class_types={"CUSTOM_PCI_10DE_2330": "H100"},
        full_resync_seconds=300,
        wait_seconds=0,
    )


def told(*hypervisors: str) -> Changes:
    changes = Changes()
    changes.tell(frozenset(hypervisors))
    return changes


def gpus(outcome: Outcome) -> Gpus:
    value = outcome.readings[Source.GPUS].value
    assert isinstance(value, Gpus)
    return value


def settle(agent: GpusAgent, placement: FakePlacement) -> None:
    agent.collect(told())
    placement.asked.clear()


def test_a_first_read_brings_every_tree_in_two_requests(agent: GpusAgent, placement: FakePlacement) -> None:
    """Names and counts; child providers are no trees of their own, other classes no GPUs."""
    value = gpus(agent.collect(told()))

    assert placement.asked == ["MEMORY_MB", "providers"]
    assert {"h0", "h1", "h2", "h3"} == set(value.trees)
    assert {GPU: GpuCount(capacity=8, used=0)} == value.trees["h0"].gpus
    assert value.unread == ()


def test_with_nothing_changed_one_tree_after_the_other_is_looked_in_on(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    """So an outage of Placement shows in the next refresh, not in the next full read."""
    settle(agent, placement)

    for _ in range(4):
        agent.collect(told())

    assert {"MEMORY_MB u-h0", "MEMORY_MB u-h1", "MEMORY_MB u-h2", "MEMORY_MB u-h3"} == set(placement.asked)
    assert len(placement.asked) == 4


def test_a_changed_hypervisor_is_read_alone(agent: GpusAgent, placement: FakePlacement, clock: Clock) -> None:
    """Besides the one whose turn it is to be looked in on; each tree carries its own time."""
    settle(agent, placement)
    placement.used["h2"][GPU] = 5
    clock.move(15)

    value = gpus(agent.collect(told("h2")))

    assert placement.asked == [LOOKED_IN, "MEMORY_MB u-h2"]
    assert value.trees["h2"].gpus[GPU].used == 5
    assert clock.now() == value.trees["h2"].read_at
    assert START == value.trees["h3"].read_at == value.full_read_at


@pytest.mark.parametrize(
    ("changed", "asked"),
    [
        pytest.param({"h1", "h2", "h3"}, [LOOKED_IN, "MEMORY_MB"], id="many"),
        pytest.param({"stranger"}, [LOOKED_IN, "MEMORY_MB"], id="unknown-hypervisor"),
    ],
)
def test_what_cannot_be_read_alone_is_read_with_all(
    agent: GpusAgent, placement: FakePlacement, changed: set[str], asked: list[str]
) -> None:
    """One request for all trees."""
    settle(agent, placement)

    agent.collect(told(*changed))

    assert asked == placement.asked


def test_without_word_of_changes_everything_is_read(agent: GpusAgent, placement: FakePlacement) -> None:
    """The servers agent failed, or an earlier handover was missed."""
    settle(agent, placement)
    silent, gappy = Changes(), Changes(is_gapless=False)
    silent.give_up()
    gappy.tell(frozenset())

    agent.collect(silent)
    agent.collect(gappy)

    assert placement.asked == [LOOKED_IN, "MEMORY_MB", "MEMORY_MB u-h2", "MEMORY_MB"]


def test_what_a_failed_read_was_told_of_is_made_up_for(agent: GpusAgent, placement: FakePlacement) -> None:
    """The next read is of everything, since the change is told once."""
    settle(agent, placement)
    placement.used["h1"][GPU] = 5
    placement.failure = CloudError(Failure.SERVER_ERROR, "500")
    with pytest.raises(CloudError):
        agent.collect(told("h1"))
    placement.failure = None

    value = gpus(agent.collect(told()))

    assert value.trees["h1"].gpus[GPU].used == 5


def test_everything_is_read_again_when_it_is_due(
    agent: GpusAgent, placement: FakePlacement, clock: Clock
) -> None:
    """Allocations can change without any server that does."""
    settle(agent, placement)
    clock.move(301)

    agent.collect(told())
    agent.collect(told(), force=True)

    assert placement.asked == ["MEMORY_MB", "MEMORY_MB"]


def test_a_tree_full_in_memory_is_found_by_another_class(agent: GpusAgent, placement: FakePlacement) -> None:
    """A host that is sold out must not look gone."""
    placement.add("h1", MEMORY_MB=8, **{GPU: 8})

    value = gpus(agent.collect(told()))

    assert value.trees["h1"].gpus[GPU] == GpuCount(capacity=8, used=8)
    assert "VCPU" in placement.asked


def test_a_tree_full_in_every_class_is_read_by_itself(agent: GpusAgent, placement: FakePlacement) -> None:
    """Provider by provider."""
    placement.add("h1", MEMORY_MB=8, VCPU=8, DISK_GB=8, **{GPU: 8})

    value = gpus(agent.collect(told()))

    assert value.trees["h1"].gpus[GPU].used == 8
    assert "tree u-h1" in placement.asked


def test_more_full_trees_than_the_budget_are_unread_and_not_empty(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    """Their GPUs are unknown, and they are named."""
    for number in range(FULL_TREES + 2):
        placement.add(f"full{number}", MEMORY_MB=8, VCPU=8, DISK_GB=8, **{GPU: 8})

    value = gpus(agent.collect(told()))

    assert value.unread == ("full3", "full4")
    assert not {"full3", "full4"} & set(value.trees)
    assert len([what for what in placement.asked if what.startswith("tree")]) == FULL_TREES


def test_a_changed_tree_that_got_full_is_read_the_longer_way(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    """Its own summary is missing then."""
    settle(agent, placement)
    placement.add("h1", MEMORY_MB=8, **{GPU: 8})

    value = gpus(agent.collect(told("h1")))

    assert value.trees["h1"].gpus[GPU].used == 8


def test_a_new_hypervisor_comes_with_the_next_full_read(agent: GpusAgent, placement: FakePlacement) -> None:
    """Its name is asked for when its summary shows."""
    settle(agent, placement)
    placement.add("new")

    value = gpus(agent.collect(told("new")))

    assert "new" in value.trees
    assert placement.asked == [LOOKED_IN, "MEMORY_MB", "providers"]


def test_a_deleted_provider_leaves(agent: GpusAgent, placement: FakePlacement) -> None:
    """It is missing from the names too."""
    settle(agent, placement)
    del placement.used["h1"]

    value = gpus(agent.collect(told(), force=True))

    assert "h1" not in value.trees
    assert value.unread == ()


def test_no_provider_at_all_is_not_believed_where_some_were(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    """An empty answer would take away every GPU."""
    settle(agent, placement)
    placement.used.clear()

    with pytest.raises(CloudError) as caught:
        agent.collect(told(), force=True)

    assert caught.value.reason == Failure.INCOMPLETE


def test_an_empty_placement_is_a_known_nothing(agent: GpusAgent, placement: FakePlacement) -> None:
    """From the start."""
    placement.used.clear()

    assert gpus(agent.collect(told())).trees == {}


def test_resumed_counts_are_followed_by_a_full_read(agent: GpusAgent, placement: FakePlacement) -> None:
    """They are shown by their layer meanwhile."""
    value = gpus(agent.collect(told()))
    agent.resume(value)
    placement.asked.clear()
    fresh = GpusAgent(
        placement, Clock(), gpu_classes=(), class_types={GPU: "H100"}, full_resync_seconds=300, wait_seconds=0
    )
    fresh.resume(value)

    assert gpus(fresh.collect(told("h1"))).trees["h1"].gpus[GPU].capacity == 8
    assert placement.asked == ["MEMORY_MB", "providers"]


def trees_read(placement: FakePlacement) -> list[str]:
    return [what.removeprefix("tree u-") for what in placement.asked if what.startswith("tree")]


def test_full_hosts_beside_bare_metal_are_all_known_after_a_few_refreshes(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    """Whatever the names, and though bare-metal nodes never answer: each is read in its turn."""
    placement.add_nodes("a1", "a2", "a3", "a4")
    placement.fill("full1", "full2", "full3", "full4")

    values = [gpus(agent.collect(told())) for _ in range(3)]

    assert [len(value.unread) for value in values] == [5, 2, 0]
    assert {values[-1].trees[f"full{number}"].gpus[GPU].used for number in range(1, 5)} == {8}
    assert {name for name, tree in values[-1].trees.items() if tree.is_bare_metal} == {"a1", "a2", "a3", "a4"}


def test_what_was_read_by_itself_costs_nothing_more_while_nothing_is_claimed_there(
    agent: GpusAgent, placement: FakePlacement, clock: Clock
) -> None:
    """Bare-metal nodes alone not even the other classes; of full hosts one is looked in on, in turn."""
    placement.add_nodes("a1", "a2")
    settle(agent, placement)

    agent.collect(told(), force=True)
    alone, placement.asked = placement.asked, []
    placement.fill("full1", "full2")
    agent.collect(told(), force=True)
    placement.asked = []
    clock.move(1000)
    values = [gpus(agent.collect(told(), force=True)) for _ in range(2)]

    assert alone == ["MEMORY_MB", "providers"]
    assert trees_read(placement) == ["full1", "full2"]
    assert [value.unread for value in values] == [(), ()]
    assert {tree.read_at for tree in values[1].trees.values()} == {clock.now()}


@pytest.mark.parametrize("count", [5, 50])
def test_the_requests_of_a_refresh_do_not_depend_on_how_many_hosts_are_full(
    agent: GpusAgent, placement: FakePlacement, count: int
) -> None:
    placement.fill(*(f"full{number}" for number in range(count)))
    asked = []

    for _ in range(count):
        placement.asked = []
        agent.collect(told(), force=True)
        asked.append(len(placement.asked))

    assert max(asked) == len(COMMON_CLASSES) + len(["providers", GPU]) + FULL_TREES
    assert asked[-1] <= len(COMMON_CLASSES) + len(["providers", GPU]) + 1


def test_a_host_full_in_all_but_gpus_is_found_by_its_gpus(agent: GpusAgent, placement: FakePlacement) -> None:
    placement.add("h1", MEMORY_MB=8, VCPU=8, DISK_GB=8, **{GPU: 7})

    value = gpus(agent.collect(told()))

    assert value.trees["h1"].gpus[GPU].used == 7
    assert trees_read(placement) == []


def test_a_full_tree_on_which_something_was_claimed_keeps_its_counts_until_its_turn(
    agent: GpusAgent, placement: FakePlacement, clock: Clock
) -> None:
    """With their own age; past the longest that they may be shown they are unknown."""
    placement.fill(*(f"full{number}" for number in range(FULL_TREES + 1)))
    for _ in range(2):
        agent.collect(told())
    placement.broken.update(f"full{number}" for number in range(FULL_TREES + 1))
    for number in range(FULL_TREES + 1):
        placement.claim(f"full{number}", **{GPU: 8})
    clock.move(60)

    value = gpus(agent.collect(told(), force=True))
    clock.move(900)
    later = gpus(agent.collect(told(), force=True))

    assert (value.unread, {value.trees[f"full{n}"].read_at for n in range(FULL_TREES + 1)}) == ((), {START})
    assert later.unread == ("full0", "full1", "full2", "full3")
    assert "h0" in later.trees


def test_a_tree_that_was_idle_and_is_full_is_unknown_and_not_idle(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    """Until its turn comes, since what was known of it is surely wrong."""
    settle(agent, placement)
    placement.fill("h0", "h1", "h2", "h3")

    values = [gpus(agent.collect(told())) for _ in range(2)]
    forced = [gpus(agent.collect(told(), force=number == 0)) for number in range(2)]

    assert values[-1].trees["h3"].is_allocated is False
    assert [value.unread for value in forced] == [("h3",), ()]
    assert forced[1].trees["h3"].gpus[GPU].used == 8


def test_one_tree_that_can_never_be_read_costs_no_other_its_turn(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    placement.fill("full0", "full1", "full2", "full3", "full4")
    placement.broken.update({"full0", "full1"})

    values = [gpus(agent.collect(told())) for _ in range(3)]

    assert values[1].unread == values[2].unread == ("full0", "full1")
    assert values[2].trees["full4"].gpus[GPU].used == 8


def test_unread_trees_are_named_once(agent: GpusAgent, placement: FakePlacement) -> None:
    placement.fill("full0", "full1", "full2", "full3")

    with capture_logs() as logs:
        for _ in range(3):
            agent.collect(told(), force=True)

    lines = [entry for entry in logs if "provider trees" in entry["event"]]
    assert [(entry["event"], entry.get("hypervisors")) for entry in lines] == [
        ("provider trees not read yet", ["full3"]),
        ("all provider trees read", None),
    ]


def test_a_provider_named_by_its_uuid_is_a_bare_metal_node_and_never_read(
    agent: GpusAgent, placement: FakePlacement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Nova names those of Ironic."""
    nodes = [
        Provider(uuid=f"n{number}", name=f"n{number}", root=f"n{number}", generation=1) for number in range(9)
    ]
    providers = placement.providers
    monkeypatch.setattr(placement, "providers", lambda: (*nodes, *providers()))

    value = gpus(agent.collect(told("n1")))

    assert placement.asked == ["MEMORY_MB", "providers"]
    assert value.unread == ()
    assert all(value.trees[node.name].is_bare_metal for node in nodes)


def test_a_server_on_a_bare_metal_node_makes_nothing_be_read(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    placement.add_nodes("a1")
    settle(agent, placement)

    agent.collect(told("a1"))

    assert placement.asked == [LOOKED_IN]


def test_a_region_in_which_everything_was_claimed_is_sold_out(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    settle(agent, placement)
    placement.fill("h0", "h1", "h2", "h3")

    agent.collect(told(), force=True)
    value = gpus(agent.collect(told()))

    assert value.unread == ()
    assert {value.trees[f"h{number}"].gpus[GPU].used for number in range(4)} == {8}


def test_an_answer_in_which_nothing_is_free_is_none_where_nobody_claimed_it(
    agent: GpusAgent, placement: FakePlacement
) -> None:
    """Every claim changes a provider's generation: an empty answer to a question is not a sold-out region."""
    settle(agent, placement)
    placement.fill("h0", "h1", "h2", "h3")
    placement.generations.clear()

    with pytest.raises(CloudError) as caught:
        agent.collect(told(), force=True)

    assert caught.value.reason == Failure.INCOMPLETE


def test_an_absurd_number_of_gpus_is_one_failed_reading(agent: GpusAgent, placement: FakePlacement) -> None:
    """It would be summed into every total; of a class that is no GPU, such as bandwidth, it may be right."""
    placement.add("h1", CUSTOM_BANDWIDTH=10**9)
    agent.collect(told())
    placement.add("h1", **{GPU: 10**9})

    with pytest.raises(CloudError) as caught:
        agent.collect(told(), force=True)
    placement.add("h1")

    assert Failure.MALFORMED == caught.value.reason
    agent.collect(told(), force=True)
