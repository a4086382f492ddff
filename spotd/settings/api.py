"""Settings of the HTTP API: who may do what, and how often."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from spotd.settings import checks
from spotd.settings.group import Group, Seconds

Role = Literal["viewer", "operator", "admin"]
TokenHash = Annotated[SecretStr, AfterValidator(checks.is_token_hash)]
Moment = Annotated[datetime, AfterValidator(checks.has_zone)]
PerMinute = Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=1, le=1_000_000)]
Streams = Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=1, le=10_000)]
Bytes = Annotated[int, checks.NOT_A_BOOLEAN, Field(ge=1024, le=16_777_216)]


class ApiToken(Group):
    """A bearer token; the token itself is nowhere but with its owner."""

    name: str
    """Who it is, as the journal shows it."""
    role: Role
    """`viewer` reads, `operator` also moves hosts and freezes, `admin` also changes aggregates."""
    hash: TokenHash
    """What `spotd token create` prints."""
    expires: Moment | None = None
    """When it stops to work; without it the token works until it is taken out."""


class ApiSettings(Group):
    """The HTTP API under `/api`."""

    tokens: tuple[ApiToken, ...] = ()
    """Bearer tokens; one that is taken out is revoked by the next reload."""
    reads: Literal["loopback", "credential", "anyone"] = "loopback"
    """Who reads without a credential: clients on this machine, nobody, or anyone."""
    loopback_writes: Literal["with-credential", "without-credential"] = "with-credential"
    """`without-credential` lets every process on this machine move hosts."""
    keystone_roles: dict[str, Role] = Field(default_factory=dict)
    """Keystone role to role here, such as {admin: admin}; while it is empty Keystone tokens are refused."""
    keystone_projects: tuple[str, ...] = ()
    """Projects, by id or name, whose tokens count; empty for any."""
    keystone_cache_seconds: Seconds = 60.0
    """How long a Keystone token that was found good is not checked again; so long a revoked one may work."""
    basic_auth_roles: dict[str, Role] = Field(default_factory=dict)
    """User of `web.config_file` to role; users who are not named are viewers."""
    reads_per_minute: PerMinute = 6000
    """Reads of one client: a page that loads ten things a second is far below."""
    writes_per_minute: PerMinute = 60
    """Writes of one client."""
    refreshes_per_minute: PerMinute = 30
    """Forced refreshes and cleared caches of one client, which need no more than a read does."""
    failed_logins_per_minute: PerMinute = 20
    """Wrong credentials from one address before Keystone is asked no more for it in that minute."""
    refresh_spacing_seconds: Seconds = 5.0
    """Least time between two forced collections, whoever asks: those who ask meanwhile share the next."""
    largest_body_bytes: Bytes = 262_144
    """Longest request body: a list of 1,000 hosts takes 40 kB."""
    body_seconds: Seconds = 10.0
    """How long a client may take to send its request's body."""
    event_streams: Streams = 600
    """Event streams open at once."""
    event_streams_per_client: Streams = 100
    """Event streams of one client at once: of a token, a user, or an address that needs neither."""

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        if again := checks.first_duplicate(token.name for token in self.tokens):
            raise checks.refused(f"tokens has the name {again!r} twice", "tokens")
        return self
