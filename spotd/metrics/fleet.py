"""What is exposed of the fleet: a collector that builds its families from the latest snapshot.

Nothing outlives the snapshot, so a host that vanished has no series. An unknown value has none either.
"""

from collections.abc import Callable, Iterable, Iterator

from prometheus_client.core import Metric

from spotd.fleet.readings import Source
from spotd.fleet.snapshot import FleetSnapshot, Host
from spotd.fleet.totals import UNKNOWN, utilization
from spotd.metrics import fleet_names as names
from spotd.metrics.description import Description, Series
from spotd.metrics.fleet_sums import sums


def _ignored(_count: int) -> None:
    """Nobody asked how many samples were dropped."""


class FleetCollector:
    """Families of the snapshot that `latest` returns; none while it returns None.

    Whether a snapshot is young enough to be shown is for `latest` to decide. `found_duplicates` is told,
    once per snapshot, how many samples were dropped because another had the same labels.
    """

    def __init__(
        self,
        latest: Callable[[], FleetSnapshot | None],
        found_duplicates: Callable[[int], None] = _ignored,
    ) -> None:
        self.latest = latest
        self._found_duplicates = found_duplicates
        self._counted: FleetSnapshot | None = None

    def describe(self) -> Iterable[Metric]:
        """Every family that `collect` may return, empty."""
        return [description.family() for description in names.FLEET_METRICS]

    def collect(self) -> Iterable[Metric]:
        """The families of the latest snapshot, in the order of the table."""
        snapshot = self.latest()
        return [] if snapshot is None else self.families(snapshot)

    def families(self, snapshot: FleetSnapshot) -> list[Metric]:
        """The families of one snapshot, each of which has at least one sample."""
        series = fleet_series(snapshot)
        if self._counted is not snapshot:
            self._counted = snapshot
            duplicates = sum(each.duplicates for each in series)
            if duplicates:
                self._found_duplicates(duplicates)
        return [family for each in series if (family := each.family()).samples]


def fleet_series(snapshot: FleetSnapshot) -> list[Series]:
    """The series of every fleet metric, in the order of the table."""
    filled = {description.name: Series(description) for description in names.FLEET_METRICS}
    pool_names = {c.aggregate.name for c in snapshot.aggregates if c.pool is not None}
    for host in snapshot.hosts.values():
        _add_host(filled, host)
        count = len(pool_names.intersection(host.aggregates))
        if count != 1 and snapshot.readings.aggregates is not None:
            filled[names.HOST_POOL_COUNT.name].add(count, host.name)
    for description, value, labels in (*sums(snapshot), *_states(snapshot)):
        filled[description.name].add(value, *labels)
    return list(filled.values())


def _add_host(filled: dict[str, Series], host: Host) -> None:
    gpu_type = host.gpu_type or UNKNOWN
    filled[names.HOST_INFO.name].add(
        1,
        *(host.name, host.hypervisor_hostname, host.resource_provider, host.pool, gpu_type),
        *(host.variant, host.contract, host.tenant, host.owner_group, host.site, host.rack),
        *(host.netbox_status, host.service_status, host.service_state),
    )
    for aggregate in host.aggregates:
        filled[names.HOST_AGGREGATE_INFO.name].add(1, host.name, aggregate)
    servers = None if host.server_ids is None else len(host.server_ids)
    for description, value in (
        (names.HOST_GPUS, host.gpus),
        (names.HOST_GPUS_USED, host.gpus_used),
        (names.HOST_GPUS_RESERVED, host.gpus_reserved),
        (names.HOST_GPU_UTILIZATION, utilization((host,))),
        (names.HOST_SERVERS, servers),
    ):
        filled[description.name].add(value, host.name, host.pool, gpu_type)


def _states(snapshot: FleetSnapshot) -> Iterator[tuple[Description, float, tuple[object, ...]]]:
    """Rows that are about the snapshot as a whole."""
    yield names.SNAPSHOT_TIMESTAMP, snapshot.assembled_at.timestamp(), ()
    for source in Source:
        reading = snapshot.readings.of(source)
        if reading is not None:
            yield names.READING_TIMESTAMP, reading.read_at.timestamp(), (source,)
