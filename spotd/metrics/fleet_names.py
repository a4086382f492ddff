"""Names of the metrics that are read from the fleet snapshot, each with its help.

All of them are cached: a scrape reads the last snapshot and asks no cloud. An empty label means that the
fact is unknown or does not exist (a GPU type that nobody tells is `unknown`); a missing series means that
the value is unknown.
"""

from spotd.metrics.description import Description, gauge

_MEMBERS = (
    "Pool membership: Nova os-aggregates, a cached reading, asked again each cache.aggregates_seconds (1 h)."
)
_CAPACITY = (
    "Source: Placement inventories of the GPU resource classes, else NetBox, else the configuration;"
    " a cached reading of each collection (cache.snapshot_seconds, 15 s)."
)
_USED = (
    "Source: Placement allocations, else the flavors of Nova's servers;"
    " a cached reading of each collection (cache.snapshot_seconds, 15 s)."
)
_SERVERS = "Source: Nova servers, a cached reading of each collection (cache.snapshot_seconds, 15 s)."
_SERVICES = "Source: Nova os-services, a cached reading of each collection (cache.snapshot_seconds, 15 s)."
_DIRTY = (
    "one-time-use devices that are not cleaned, one for each provider that is reserved in full. Source:"
    " Placement, a cached reading of each collection (cache.snapshot_seconds, 15 s); absent without it."
)
_COMPLETE = "Absent while aggregates or compute services are unknown."
_WHOLE = "Hosts whose value is unknown are left out and counted in spotd_pool_hosts_unknown."

HOST_INFO = gauge(
    "spotd_host_info",
    "Facts of a GPU host as labels, value 1; empty: unknown or none. Sources: Nova os-services and"
    f" os-aggregates, Placement and NetBox (a cached reading, each cache.netbox_seconds, 30 min). {_MEMBERS}",
    *("host", "hypervisor_hostname", "resource_provider", "pool", "gpu_type", "variant", "contract"),
    *("tenant", "owner_group", "site", "rack", "netbox_status", "service_status", "service_state"),
)
HOST_AGGREGATE_INFO = gauge(
    "spotd_host_aggregate_info",
    f"Membership of a GPU host in a host aggregate, value 1, also in aggregates that are no pool. {_MEMBERS}",
    *("host", "aggregate"),
)
HOST_GPUS = gauge(
    "spotd_host_gpus", f"GPUs that can be allocated on the host. {_CAPACITY}", "host", "pool", "gpu_type"
)
HOST_GPUS_USED = gauge(
    "spotd_host_gpus_used", f"GPUs of the host that servers hold. {_USED}", "host", "pool", "gpu_type"
)
HOST_GPUS_RESERVED = gauge(
    "spotd_host_gpus_reserved",
    f"GPUs of the host, not in spotd_host_gpus, that nobody holds and nobody can have: {_DIRTY}",
    *("host", "pool", "gpu_type"),
)
HOST_GPU_UTILIZATION = gauge(
    "spotd_host_gpu_utilization_ratio",
    f"Used GPUs of the host over its GPUs, 0 to 1; absent for a host without GPUs. {_USED}",
    *("host", "pool", "gpu_type"),
)
HOST_SERVERS = gauge(
    "spotd_host_servers",
    f"Servers of all projects and states on the host. {_SERVERS}",
    *("host", "pool", "gpu_type"),
)
HOST_POOL_COUNT = gauge(
    "spotd_host_pools",
    f"Pool aggregates that hold the host, where that is not one: none, or several. {_MEMBERS}",
    "host",
)
POOL_HOSTS = gauge(
    "spotd_pool_hosts", f"Hosts for sale in the pool. {_MEMBERS} {_COMPLETE}", "gpu_type", "pool"
)
POOL_FREE_HOSTS = gauge(
    "spotd_pool_free_hosts",
    "Hosts for sale in the pool that are empty: no server, no used GPU and nothing else allocated on them;"
    " absent while that is unknown of one."
    f" {_USED}",
    *("gpu_type", "pool"),
)
POOL_GPUS = gauge(
    "spotd_pool_gpus", f"GPUs of the hosts for sale in the pool. {_CAPACITY} {_WHOLE}", "gpu_type", "pool"
)
POOL_GPUS_USED = gauge(
    "spotd_pool_gpus_used",
    f"GPUs of the hosts for sale in the pool that servers hold. {_USED} {_WHOLE}",
    *("gpu_type", "pool"),
)
POOL_GPUS_RESERVED = gauge(
    "spotd_pool_gpus_reserved",
    "GPUs of the hosts for sale in the pool, not in spotd_pool_gpus, that nobody holds and nobody can have:"
    f" {_DIRTY} {_WHOLE}",
    *("gpu_type", "pool"),
)
POOL_GPU_UTILIZATION = gauge(
    "spotd_pool_gpu_utilization_ratio",
    "Used GPUs over GPUs of the hosts for sale in the pool for which both are known, 0 to 1; absent"
    f" where there are none. {_USED}",
    *("gpu_type", "pool"),
)
POOL_HOSTS_UNKNOWN = gauge(
    "spotd_pool_hosts_unknown",
    "Hosts for sale in the pool whose GPUs or used GPUs (fact gpus) or emptiness (fact free) nobody tells, so"
    " that no sum holds them."
    f" Source: the snapshot of each collection (cache.snapshot_seconds, 15 s). {_COMPLETE}",
    *("gpu_type", "pool", "fact"),
)
GPU_TYPE_GPUS = gauge(
    "spotd_gpu_type_gpus",
    f"GPUs of all hosts for sale of the type. {_CAPACITY} {_WHOLE}",
    "gpu_type",
)
GPU_TYPE_GPUS_USED = gauge(
    "spotd_gpu_type_gpus_used",
    f"GPUs of all hosts for sale of the type that servers hold. {_USED} {_WHOLE}",
    "gpu_type",
)
GPU_TYPE_UTILIZATION = gauge(
    "spotd_gpu_type_utilization_ratio",
    "Used GPUs over GPUs of all hosts for sale of the type for which both are known, 0 to 1; absent where"
    f" there are none. {_USED}",
    "gpu_type",
)
OUT_OF_STOCK_HOSTS = gauge(
    "spotd_out_of_stock_hosts",
    "GPU hosts that are not for sale, each counted once under the first reason that holds. Sources: NetBox"
    f" status (each cache.netbox_seconds, 30 min), Nova os-services and os-aggregates."
    f" {_MEMBERS} {_COMPLETE}",
    *("gpu_type", "reason"),
)
CONTRACT_HOSTS = gauge(
    "spotd_contract_hosts", f"Hosts for sale of the contract. {_MEMBERS} {_COMPLETE}", "contract", "gpu_type"
)
CONTRACT_GPUS = gauge(
    "spotd_contract_gpus",
    f"GPUs of the contract's hosts for sale. {_CAPACITY} {_WHOLE}",
    *("contract", "gpu_type"),
)
CONTRACT_GPUS_USED = gauge(
    "spotd_contract_gpus_used",
    f"GPUs of the contract's hosts for sale that servers hold. {_USED} {_WHOLE}",
    *("contract", "gpu_type"),
)
CONTRACT_GPU_UTILIZATION = gauge(
    "spotd_contract_gpu_utilization_ratio",
    "Used GPUs over GPUs of the contract's hosts for sale for which both are known, 0 to 1; absent where"
    f" there are none. {_USED}",
    *("contract", "gpu_type"),
)
CONTRADICTIONS = gauge(
    "spotd_contradictions",
    "Disagreements between sources about hosts, by kind; absent for a kind whose sources are not all known."
    " Sources: NetBox, Nova and Placement as in the snapshot of each collection"
    " (cache.snapshot_seconds, 15 s).",
    "kind",
)
FLEET_HOSTS = gauge(
    "spotd_fleet_hosts",
    "GPU hosts that NetBox, an aggregate or Nova names, each once, as in the snapshot of each collection"
    f" (cache.snapshot_seconds, 15 s). {_COMPLETE}",
)
FLEET_SERVERS = gauge(
    "spotd_fleet_servers", f"Servers of all projects and states, also on hosts without GPUs. {_SERVERS}"
)
BARE_METAL_NODES = gauge(
    "spotd_bare_metal_nodes",
    "Resource providers of bare-metal nodes, which are no hosts and in no other number. Source: Placement, a"
    " cached reading of each collection (cache.snapshot_seconds, 15 s); absent without it.",
)
COMPUTE_SERVICES = gauge(
    "spotd_compute_services",
    f"Compute services (nova-compute) by status and state. {_SERVICES}",
    *("status", "state"),
)
SNAPSHOT_TIMESTAMP = gauge(
    "spotd_snapshot_timestamp_seconds",
    "Unix time in seconds at which spotd joined the snapshot from its agents' readings; its period is"
    " cache.snapshot_seconds, 15 s.",
)
READING_TIMESTAMP = gauge(
    "spotd_reading_timestamp_seconds",
    "Unix time in seconds at which the question was asked whose answer is in the snapshot; absent without a"
    " good answer that is young enough. Sources: NetBox, Nova (aggregates, services, servers),"
    " Placement (gpus).",
    "source",
)

FLEET_METRICS: tuple[Description, ...] = (
    *(HOST_INFO, HOST_AGGREGATE_INFO, HOST_GPUS, HOST_GPUS_USED, HOST_GPUS_RESERVED),
    *(HOST_GPU_UTILIZATION, HOST_SERVERS, HOST_POOL_COUNT, POOL_HOSTS, POOL_FREE_HOSTS, POOL_GPUS),
    *(POOL_GPUS_USED, POOL_GPUS_RESERVED, POOL_GPU_UTILIZATION, POOL_HOSTS_UNKNOWN),
    *(GPU_TYPE_GPUS, GPU_TYPE_GPUS_USED, GPU_TYPE_UTILIZATION, OUT_OF_STOCK_HOSTS),
    *(CONTRACT_HOSTS, CONTRACT_GPUS, CONTRACT_GPUS_USED, CONTRACT_GPU_UTILIZATION),
    *(
        CONTRADICTIONS,
        FLEET_HOSTS,
        FLEET_SERVERS,
        BARE_METAL_NODES,
        COMPUTE_SERVICES,
        SNAPSHOT_TIMESTAMP,
        READING_TIMESTAMP,
    ),
)
