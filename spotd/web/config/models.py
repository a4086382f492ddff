"""The keys of the file, as the exporter-toolkit documents them; what it refuses is refused here."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from spotd.web.config.names import CIPHERS, CURVES, HTTP2_CIPHERS, TLS13_ONLY

_BCRYPT = re.compile(r"\$2[abxy]\$\d\d\$[./A-Za-z0-9]{53}")
LOWEST_COST = 4
"""bcrypt knows none below."""
HIGHEST_COST = 16
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ns|us|µs|ms|s|m|h))+|0")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
HEADERS = {
    "Content-Security-Policy": None,
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-Content-Type-Options": ("nosniff",),
    "X-XSS-Protection": None,
    "Strict-Transport-Security": None,
}
"""The headers that may be set, and their choices where they have some."""

ClientAuth = Literal[
    "",
    "NoClientCert",
    "RequestClientCert",
    "RequireAnyClientCert",
    "RequireClientCert",
    "VerifyClientCertIfGiven",
    "RequireAndVerifyClientCert",
]
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


def _duration(value: Any) -> Any:
    """Go's writing of a duration, such as 1m30s."""
    if not isinstance(value, str | int) or not _DURATION.fullmatch(str(value)):
        raise ValueError("is no duration, such as 1s or 500ms")
    return timedelta(seconds=sum(float(n) * _SECONDS[unit] for n, unit in _PART.findall(str(value))))


def _cipher(name: str) -> str:
    if name not in CIPHERS and name not in TLS13_ONLY:
        raise ValueError(f"unknown cipher: {name}")
    return name


def _curve(name: str) -> str:
    if name not in CURVES:
        raise ValueError(f"unknown curve: {name}")
    return name


def _header_values(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if name not in HEADERS:
            raise ValueError(f'HTTP header "{name}" can not be configured')
        choices = HEADERS[name]
        if value and choices is not None and value.lower() not in choices:
            raise ValueError(f'invalid value for {name}. Expected one of: "{", ".join(choices)}"')
        if not (value.isascii() and (value.isprintable() or not value)):
            raise ValueError(f"invalid value for {name}: it must be printable ASCII on one line")
    return headers


def _hashes(users: dict[str, str]) -> dict[str, str]:
    for name, hashed in users.items():
        if not _BCRYPT.fullmatch(hashed):
            # The value is not shown: it may be a password in clear.
            raise ValueError(f"the password of {name!r} is no bcrypt hash")
        if not LOWEST_COST <= (cost := int(hashed[4:6])) <= HIGHEST_COST:
            raise ValueError(
                f"the password of {name!r} has the bcrypt cost {cost}, which must be {LOWEST_COST} to "
                f"{HIGHEST_COST}: each step doubles the time of a check, which {HIGHEST_COST} makes seconds"
            )
    return users


class _Section(BaseModel):
    # Numbers where text belongs are text, as in Go: the toolkit's own example has X-XSS-Protection: 1.
    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, coerce_numbers_to_str=True
    )


class TlsServer(_Section):
    """`tls_server_config`."""

    cert: str = ""
    key: str = Field(default="", repr=False)
    client_ca: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_auth_type: ClientAuth = ""
    client_ca_file: str = ""
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[Annotated[str, AfterValidator(_cipher)], ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[Annotated[str, AfterValidator(_curve)], ...] = ()

    @property
    def is_enabled(self) -> bool:
        """Whether anything of it asks for TLS."""
        return any(
            given
            for given in (
                *(self.cert, self.key, self.cert_file, self.key_file),
                *(self.client_ca, self.client_ca_file, self.client_auth_type),
            )
        )

    @property
    def requires_client(self) -> bool:
        """Whether nobody gets in without a certificate of the client CA."""
        return self.client_auth_type == "RequireAndVerifyClientCert"

    @property
    def requires_any(self) -> bool:
        """Whether nobody gets in without a certificate, be it whose it may."""
        return self.client_auth_type in {"RequireAnyClientCert", "RequireClientCert"}

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.is_enabled:
            return self
        if not (self.cert or self.cert_file):
            raise ValueError("missing one of cert or cert_file")
        if not (self.key or self.key_file):
            raise ValueError("missing one of key or key_file")
        if (self.client_ca or self.client_ca_file) and self.client_auth_type in {"", "NoClientCert"}:
            raise ValueError("client CA's have been configured without a Client Auth Policy")
        if self.client_allowed_sans is not None and not self.requires_client:
            # The toolkit takes names from a certificate that nobody verified, too: anybody can write one.
            raise ValueError("client_allowed_sans requires client_auth_type RequireAndVerifyClientCert")
        return self


class HttpServer(_Section):
    """`http_server_config`."""

    http2: bool = True
    """Accepted and not spoken: clients are offered HTTP/1.1 alone."""
    headers: Annotated[dict[str, str], AfterValidator(_header_values)] = Field(default_factory=dict)


class RateLimit(_Section):
    """`rate_limit`: a bucket of `burst` requests that is filled by one each `interval`."""

    interval: Annotated[timedelta, BeforeValidator(_duration)] = timedelta(0)
    burst: int = Field(default=0, ge=0)


class WebConfig(_Section):
    """The whole file."""

    tls_server_config: TlsServer = TlsServer()
    http_server_config: HttpServer = HttpServer()
    basic_auth_users: Annotated[dict[str, str], AfterValidator(_hashes)] = Field(
        default_factory=dict, repr=False
    )
    rate_limit: RateLimit = RateLimit()

    @property
    def tls(self) -> TlsServer | None:
        """TLS, where it is asked for."""
        return self.tls_server_config if self.tls_server_config.is_enabled else None

    @model_validator(mode="after")
    def _http2_has_its_ciphers(self) -> Self:
        """HTTP/2 needs one of two suites; a list without them is a mistake where HTTP/2 is wanted."""
        tls, suites = self.tls_server_config, set(self.tls_server_config.cipher_suites)
        if (
            self.http_server_config.http2
            and suites
            and tls.min_version != "TLS13"
            and not suites & HTTP2_CIPHERS
        ):
            raise ValueError(
                "TLSConfig.CipherSuites is missing an HTTP/2-required AES_128_GCM_SHA256 cipher: "
                "add one, or set http2: false"
            )
        return self


def joined(directory: Path, path: str) -> Path:
    """A path of the file: relative ones begin where the file is."""
    return directory / path
