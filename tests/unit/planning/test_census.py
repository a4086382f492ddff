"""What rules are told of a pool is what its metrics show."""

from fleets import FleetBuilder, gpu_flavor, named_flavor
from hypothesis import given
from hypothesis import strategies as st

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import Pool
from spotd.fleet.totals import pool_totals
from spotd.metrics import fleet_names as names
from spotd.metrics.fleet import FleetCollector
from spotd.metrics.fleet_sums import sums
from spotd.planning.census import Census, View, type_key

POOLS = {
    "H100-n3": ("H100", Pool.ONDEMAND),
    "H100-n3-spot": ("H100", Pool.SPOT),
    "L40-n3": ("L40", Pool.ONDEMAND),
}
READ = tuple(source for source in Source if source is not Source.CONFIGURATION)
FLAVORS = st.sampled_from(
    [gpu_flavor(1), gpu_flavor(8), named_flavor("cpu"), named_flavor("any", extra_specs_known=False)]
)
CLASSES = st.sampled_from(["CUSTOM_GPU_H100", "VGPU", "VCPU", "CUSTOM_MIG_1G_10GB"])


@st.composite
def fleets(draw: st.DrawFn) -> FleetBuilder:
    """Hosts in pools, with and without a provider, a device and servers; readings are missing."""
    builder = FleetBuilder()
    for aggregate in draw(st.lists(st.sampled_from(sorted(POOLS)), unique=True)):
        builder.aggregate(aggregate)
    for number in range(draw(st.integers(0, 5))):
        name = f"h{number}"
        builder.service(name, state=draw(st.sampled_from(["up", "up", "down"])))
        for aggregate in draw(st.lists(st.sampled_from([*POOLS, "tempest"]), unique=True, max_size=2)):
            builder.aggregate(aggregate, name)
        for flavor in draw(st.lists(FLAVORS, max_size=2)):
            builder.server(name, flavor, status=draw(st.sampled_from(["ACTIVE", "BUILD", "DELETED"])))
        if draw(st.booleans()):
            counts = st.tuples(st.integers(0, 8), st.sampled_from([0, 0, 3, 9]))
            builder.tree(draw(st.sampled_from([name, f"{name}.a"])), **draw(st.dictionaries(CLASSES, counts)))
        if draw(st.booleans()):
            builder.device(name, gpu_count=draw(st.none() | st.integers(0, 8)))
    builder.unread(*draw(st.lists(st.sampled_from(["h0", "other"]), max_size=1)))
    return builder.without(*draw(st.sets(st.sampled_from(READ), max_size=2)))


@given(fleets())
def test_the_fact_of_free_hosts_is_what_the_metric_shows_and_absent_where_that_is(
    fleet: FleetBuilder,
) -> None:
    """Of every pool that there is: one without an aggregate has no series, and its hosts are a true zero."""
    snapshot = fleet.snapshot()
    census = Census(snapshot)
    rows = list(sums(snapshot))
    metrics = {row[2]: row[1] for row in rows if row[0] is names.POOL_FREE_HOSTS}
    pools = {row[2][:2] for row in rows if row[0] is names.POOL_HOSTS_UNKNOWN}

    for gpu_type, pool in POOLS.values():
        facts = census.sums(View(gpu_type=type_key(gpu_type), pools=(pool,)))
        if (gpu_type, pool) in pools:
            assert facts.get("free_hosts") == metrics.get((gpu_type, pool))


@given(fleets())
def test_no_ratio_leaves_its_bounds_and_no_host_has_less_than_no_gpu_free(fleet: FleetBuilder) -> None:
    """Whatever the sources say, overcommitted hosts too."""
    snapshot = fleet.snapshot()
    census = Census(snapshot)

    collected = FleetCollector(lambda: snapshot).collect()
    ratios = [each.value for family in collected for each in family.samples if each.name.endswith("_ratio")]
    ratios += [total.utilization_ratio for total in pool_totals(snapshot) or () if total.utilization_ratio]
    for gpu_type, pool in POOLS.values():
        facts = census.sums(View(gpu_type=type_key(gpu_type), pools=(pool,)))
        ratios.append(facts.get("utilization", 0.0))
        assert facts.get("free_gpus", 0) >= 0
    assert all(0 <= ratio <= 1 for ratio in ratios)
