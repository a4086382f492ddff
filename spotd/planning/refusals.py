"""Why a host does not move: a stable code for metrics and journals, and a sentence for people."""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Every reason; the values are part of spotd's interface and do not change."""

    OBSERVING = "observing"
    NOT_LEADER = "not_leader"
    FROZEN = "frozen"
    FREEZE_DATE = "freeze_date"
    READING_MISSING = "reading_missing"
    READING_STALE = "reading_stale"
    WINDOW_CLOSED = "window_closed"
    CONDITION_UNKNOWN = "condition_unknown"
    CONDITION_FALSE = "condition_false"
    CONDITION_PENDING = "condition_pending"
    COUNT_UNKNOWN = "count_unknown"
    RULE_FAILED = "rule_failed"
    ENOUGH = "enough"
    BUDGET_HOUR = "budget_hour"
    BUDGET_DAY = "budget_day"
    BUDGET_AT_ONCE = "budget_at_once"
    OUT_OF_SCOPE = "out_of_scope"
    READING_PARTIAL = "reading_partial"
    NO_POOL = "no_pool"
    SEVERAL_POOLS = "several_pools"
    SERVERS_UNKNOWN = "servers_unknown"
    GPUS_UNKNOWN = "gpus_unknown"
    GPU_TYPE_UNPROVED = "gpu_type_unproved"
    SOURCES_DISAGREE = "sources_disagree"
    SERVICE_UNKNOWN = "service_unknown"
    SERVICE_DISABLED = "service_disabled"
    SERVICE_DOWN = "service_down"
    NETBOX_STATUS = "netbox_status"
    MIGRATION_IN_FLIGHT = "migration_in_flight"
    MOVE_IN_PROGRESS = "move_in_progress"
    COOLDOWN = "cooldown"
    TAKEN = "taken"
    NVLINK = "nvlink"
    SERVERS_PRESENT = "servers_present"
    GPUS_ALLOCATED = "gpus_allocated"
    NO_DESTINATION = "no_destination"
    SEVERAL_DESTINATIONS = "several_destinations"
    GPU_TYPE_DIFFERS = "gpu_type_differs"
    ZONE_CONFLICT = "zone_conflict"
    METADATA_STRANDS_FLAVOR = "metadata_strands_flavor"
    KEEP_HOSTS = "keep_hosts"
    KEEP_FREE_GPUS = "keep_free_gpus"
    WOULD_BE_UNDONE = "would_be_undone"


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason."""

    code: Code
    sentence: str
