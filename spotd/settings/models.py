"""Every setting with its unit, its default and the reason for that default."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from spotd.settings import checks, urls
from spotd.settings.acting import MovesSettings, RulesSettings
from spotd.settings.api import ApiSettings
from spotd.settings.group import Count, Group, Seconds, Secret
from spotd.settings.journal import JournalSettings

GPU_TYPE_GROUP = "gpu_type"

Pattern = Annotated[str, AfterValidator(checks.is_pattern)]
AggregateNamePattern = Annotated[Pattern, AfterValidator(checks.has_aggregate_groups)]
FlavorNamePattern = Annotated[Pattern, AfterValidator(checks.has_gpus_group)]
ListenAddress = Annotated[str, AfterValidator(checks.is_listen_address)]
Name = Annotated[str, AfterValidator(checks.is_name)]
RedisUrl = Annotated[SecretStr, AfterValidator(urls.is_redis_url)]
BaseUrl = Annotated[str, AfterValidator(checks.is_base_url)]


class OpenStackSettings(Group):
    """Which cloud to ask and how long to wait for it."""

    cloud: Name | None = None
    """Name in clouds.yaml, before `OS_CLOUD`; with neither, `OS_AUTH_URL` and its like, else the only one."""
    region: Name | None = None
    """Region, before `OS_REGION_NAME` and the entry's own; of several that are possible one must be named."""
    request_timeout_seconds: Seconds = 30.0
    """Longest wait for one whole answer; a busy control plane lists 1,000 services in about a second."""
    servers_page_timeout_seconds: Seconds = 90.0
    """Longest wait for one page of the full server walk: Nova needs 5 ms and more for each of 1,000."""
    connect_timeout_seconds: Seconds = 5.0
    """Longest wait for a connection."""
    page_size: Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=1, le=1000)] = 1000
    """Servers asked for in one page; Nova cuts silently at its own `max_limit`, 1000 by default."""


NOT_FILTERS = (
    *("limit", "offset", "start", "ordering", "fields", "omit", "exclude", "brief", "format"),
    *("id__gte", "last_updated__gte"),
)
"""Parameters of NetBox's lists that shape the answer, or that spotd itself filters by."""


class NetBoxSettings(Group):
    """Where the device inventory is, and which of its fields mean what."""

    url: BaseUrl
    """Base URL without credentials, such as https://netbox.example.com; needed with any other netbox key."""
    token: Secret | None = None
    """API token, version 1 or 2; better given by `token_file` or `SPOTD_NETBOX__TOKEN`."""
    token_file: Path | None = None
    """File that holds the token; relative paths are taken from `$CREDENTIALS_DIRECTORY` when that is set."""
    verify_tls: bool | Path = True
    """True, False, or the path of a CA bundle."""
    request_timeout_seconds: Seconds = 60.0
    """Longest wait for one whole page: 1,000 devices take 1 to 3 s on an idle server."""
    query: dict[str, str | list[str]] = Field(default_factory=dict)
    """Filters for the device list, such as {role: gpu-hypervisor}; NetBox ignores those it does not know."""
    nvlink_field: str = "nvlinks_capable"
    """Custom field that says whether a host has NVLink."""
    gpu_count_field: str = "gpu_count"
    """Custom field that holds the number of GPUs."""
    gpu_tags: dict[str, str] = Field(default_factory=dict)
    """Tag slug to GPU type, for tags that do not spell the type itself, such as nvidia-h100-pcie: H100."""
    gpu_roles: tuple[str, ...] = ()
    """Device roles (slugs) whose devices are GPU hosts even without a GPU tag or count."""
    full_resync_seconds: Seconds = 21600.0
    """How often the whole list is read: renamed tenants and sites never show in `last_updated`."""

    @model_validator(mode="after")
    def _one_token(self) -> Self:
        if self.token is not None and self.token_file is not None:
            raise checks.refused("token and token_file are both set: keep one", "token", "token_file")
        if self.token is None and self.token_file is None:
            raise checks.refused(
                "no token: set token_file, or token by the environment as SPOTD_NETBOX__TOKEN"
            )
        return self

    @model_validator(mode="after")
    def _only_filters(self) -> Self:
        for key in self.query:
            if key in NOT_FILTERS:
                raise checks.refused(
                    f"query.{key}: is spotd's own, as are all of {', '.join(NOT_FILTERS)};"
                    " give filters, such as role or tag",
                    "query",
                )
        return self


class AggregatePattern(Group):
    """What an aggregate's name means where its metadata does not say."""

    name: AggregateNamePattern
    """Regular expression for the whole name; its groups `gpu_type`, `variant`, `contract` are taken over."""
    pool: Literal["ondemand", "spot", "runpod", "contract", "testing"]
    """The pool of every aggregate with such a name."""
    variant: str | None = None
    """Variant of the GPU type, where the pattern has no group for it."""


DEFAULT_PATTERNS = (
    AggregatePattern(name=r"Contract-(?P<contract>.+)-\d+x(?P<gpu_type>.+)", pool="contract"),
    AggregatePattern(name=r"(?P<gpu_type>.+)-n\d+", pool="ondemand"),
    AggregatePattern(name=r"(?P<gpu_type>.+)-n\d+-(?P<variant>NVLink)", pool="ondemand"),
    AggregatePattern(name=r"(?P<gpu_type>.+)-n\d+-spot", pool="spot"),
    AggregatePattern(name=r"(?P<gpu_type>.+)-n\d+-runpod", pool="runpod"),
    AggregatePattern(name=r"tempest.*", pool="testing"),
)


class AggregateSettings(Group):
    """How aggregates are read."""

    patterns: tuple[AggregatePattern, ...] = DEFAULT_PATTERNS
    """Tried in order, the first that fits the whole name wins; metadata `spotd:pool` goes before them."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if again := checks.first_duplicate(pattern.name for pattern in self.patterns):
            raise checks.refused(
                f"patterns has the name {again!r} twice: only the first would ever be used", "patterns"
            )
        return self


class GpuSettings(Group):
    """How GPUs are recognised and counted."""

    resource_classes: tuple[Pattern, ...] = (r"CUSTOM_V?GPU_(?P<gpu_type>.+)", r"V?GPU", r"PGPU")
    """Resource classes that are GPUs, as patterns for the whole name; group `gpu_type` where it has one."""
    class_types: dict[str, str] = Field(default_factory=dict)
    """Resource class to GPU type, for classes that do not spell it, such as CUSTOM_PCI_10DE_2330: H100."""
    other_classes: tuple[Pattern, ...] = (
        r"CUSTOM_BAREMETAL(_.+)?",
        r"CUSTOM_PMEM_NAMESPACE_.+",
        r"CUSTOM_RESERVATION_.+",
    )
    """Resource classes and PCI aliases that are no GPUs, as patterns; VCPU and its like need no word."""
    pci_aliases: dict[str, str] = Field(default_factory=dict)
    """PCI alias to GPU type, for aliases that do not spell the GPU type itself."""
    per_host: dict[str, Count] = Field(default_factory=dict)
    """GPUs in a host of a GPU type, used where neither Placement nor NetBox knows."""
    flavor_name: FlavorNamePattern = r".*[^0-9A-Za-z]?x(?P<gpus>\d+)"
    """Flavor names that tell the number of GPUs by their group `gpus`, used where the extra specs do not."""
    full_resync_seconds: Seconds = 300.0
    """How often all of Placement's summaries are read; between, only hosts that changed."""


class CacheSettings(Group):
    """How long each layer's answer counts as fresh, and how long it may still be shown when asking fails."""

    backend: Literal["memory", "redis"] = "memory"
    """`redis` where several daemons share what they read."""
    redis_url: RedisUrl | None = None
    """Such as redis://localhost:6379/0; needed with `backend: redis`."""
    netbox_seconds: Seconds = 1800.0
    """Lifetime of the device inventory: hardware changes by the hour."""
    aggregates_seconds: Seconds = 3600.0
    """Lifetime of aggregate membership: spotd's own moves correct it at once."""
    snapshot_seconds: Annotated[float, checks.NOT_A_BOOLEAN, Field(ge=1, le=60, allow_inf_nan=False)] = 15.0
    """Lifetime of the joined snapshot, and so the period of collections: 1 to 60 s."""
    netbox_max_age_seconds: Seconds = 86400.0
    """How long the last good inventory is shown while NetBox fails."""
    aggregates_max_age_seconds: Seconds = 14400.0
    """How long the last good aggregates are shown while Nova fails."""
    servers_max_age_seconds: Seconds = 900.0
    """How long the last good servers and services are shown while Nova fails."""
    gpus_max_age_seconds: Seconds = 900.0
    """How long the last good GPU counts are shown while Placement fails."""

    @model_validator(mode="after")
    def _ages_fit(self) -> Self:
        if self.backend == "redis" and self.redis_url is None:
            raise checks.refused("backend redis needs redis_url", "backend")
        self._shown_at_least("netbox_max_age_seconds", "netbox_seconds")
        self._shown_at_least("aggregates_max_age_seconds", "aggregates_seconds")
        self._shown_at_least("servers_max_age_seconds", "snapshot_seconds")
        self._shown_at_least("gpus_max_age_seconds", "snapshot_seconds")
        return self

    def _shown_at_least(self, max_age: str, lifetime: str) -> None:
        shown, fresh = getattr(self, max_age), getattr(self, lifetime)
        if shown < fresh:
            raise checks.refused(
                f"{max_age} ({shown:g}) must be at least {lifetime} ({fresh:g})", max_age, lifetime
            )


class CollectionSettings(Group):
    """How the four agents are run."""

    agent_deadline_seconds: Seconds = 60.0
    """After this an agent's run is given up; the page-by-page server walk has its own time."""
    servers_full_resync_seconds: Seconds = 900.0
    """How often all servers are walked; between, only what changed is asked for."""
    changes_overlap_seconds: Seconds = 60.0
    """How far `changes-since` reaches back behind the last answer: twice the largest clock skew, and more."""
    resume_seconds: Seconds = 21600.0
    """A stored server list older than this is not resumed from: archived deletes could be missed."""
    state_directory: Path | None = None
    """Where a restart finds its warm readings; default `$STATE_DIRECTORY`, else none is kept."""


class WebSettings(Group):
    """The HTTP face."""

    listen_address: ListenAddress = "127.0.0.1:8080"
    """HOST:PORT; loopback by default, since reads need no credential."""
    config_file: Path | None = None
    """TLS, basic authentication, headers and rate limit, in the exporter-toolkit's format."""
    allowed_hosts: tuple[str, ...] = ()
    """More names by which browsers may call this server, `*` for any; addresses and own names may."""
    connections_per_address: Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=1, le=900)] = 200
    """Open connections of one address, of 900 in all; more where one proxy asks for everybody."""
    ready_max_age_seconds: Seconds = 120.0
    """A snapshot older than this makes `/-/ready` say no."""


class LogSettings(Group):
    """What is logged and how."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is written."""
    format: Literal["auto", "console", "json", "journald"] = "auto"
    """`auto` is readable on a terminal, fields where journald reads, else lines of JSON."""


class Settings(Group):
    """The whole configuration of one daemon."""

    openstack: OpenStackSettings = OpenStackSettings()
    """The cloud."""
    netbox: NetBoxSettings | None = None
    """The inventory; without it everything else works."""
    aggregates: AggregateSettings = AggregateSettings()
    """What aggregates mean."""
    gpus: GpuSettings = GpuSettings()
    """What counts as a GPU."""
    cache: CacheSettings = CacheSettings()
    """Lifetimes."""
    collection: CollectionSettings = CollectionSettings()
    """Agents."""
    rules: RulesSettings = RulesSettings()
    """What decides."""
    moves: MovesSettings = MovesSettings()
    """How hosts are moved."""
    journal: JournalSettings = JournalSettings()
    """What survives a restart."""
    web: WebSettings = WebSettings()
    """HTTP."""
    api: ApiSettings = ApiSettings()
    """The HTTP API."""
    log: LogSettings = LogSettings()
    """Logging."""
