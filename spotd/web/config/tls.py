"""TLS as the file asks for it, and a context that follows the file from one connection to the next."""

import ssl
import tempfile
import warnings
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from spotd.web.config.models import TlsServer, joined
from spotd.web.config.names import CIPHERS, CURVES

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_CLIENT_AUTH = {
    "": ssl.CERT_NONE,
    "NoClientCert": ssl.CERT_NONE,
    # A certificate that is asked for and neither verified nor used changes nothing: it is not asked for.
    "RequestClientCert": ssl.CERT_NONE,
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}
# Go's choice where the file names none: no key exchange without forward secrecy, the modern suites first.
_EPHEMERAL = [suite for suite in CIPHERS.values() if suite.startswith("ECDHE")]
_OLD_SUITES = sorted(_EPHEMERAL, key=lambda suite: suite.endswith("-SHA"))


class TlsError(Exception):
    """TLS cannot be as the file asks; one sentence without a key."""


class Wrapping(Protocol):
    """What a server needs of a context."""

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> Any:
        """A connection's TLS."""


class FollowingContext(ssl.SSLContext):
    """Makes each connection with the context that is current when it begins."""

    _current: Callable[[], Wrapping]

    @classmethod
    def of(cls, current: Callable[[], Wrapping]) -> "FollowingContext":
        """A context that stands for the current one."""
        context = cls(ssl.PROTOCOL_TLS_SERVER)
        context._current = current
        return context

    def wrap_bio(self, *arguments: Any, **keywords: Any) -> Any:
        """A connection's TLS; asyncio calls this for each."""
        return self._current().wrap_bio(*arguments, **keywords)


def context_of(tls: TlsServer, directory: Path) -> Wrapping:
    """The context that the file asks for.

    Raises:
        TlsError: A certificate, key or CA cannot be read or does not fit.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 and 1.1 are the file's own wish
        context.minimum_version = _VERSIONS[tls.min_version]
        context.maximum_version = _VERSIONS[tls.max_version]
    try:
        _load_chain(context, tls, directory)
        _load_client_ca(context, tls, directory)
        _choose(context, tls)
        if tls.requires_any:
            return _unverifying(context, tls, directory)
    except (OSError, ValueError) as error:
        raise TlsError(f"tls_server_config: {_reason(error)}") from None
    context.verify_mode = _CLIENT_AUTH[tls.client_auth_type]
    if tls.client_allowed_sans is not None:
        context.sslobject_class = _checking(frozenset(map(_normal, tls.client_allowed_sans)))
    context.set_alpn_protocols(["http/1.1"])
    return context


def _load_chain(context: ssl.SSLContext, tls: TlsServer, directory: Path) -> None:
    cert = joined(directory, tls.cert_file) if tls.cert_file else tls.cert
    key = joined(directory, tls.key_file) if tls.key_file else tls.key
    with tempfile.TemporaryDirectory(prefix="spotd-tls-") as folder:  # only its owner may look into it
        context.load_cert_chain(
            _as_file(cert, Path(folder) / "cert"), _as_file(key, Path(folder) / "key"), password=lambda: ""
        )


def _as_file(given: Path | str, place: Path) -> Path:
    """Python reads certificates and keys from files alone."""
    if isinstance(given, Path):
        given.read_bytes()  # so that the error names the file
        return given
    place.write_text(given, encoding="ascii")
    return place


def _unverifying(model: ssl.SSLContext, tls: TlsServer, directory: Path) -> Wrapping:
    # Who does not ask for it does not wait for a second OpenSSL to be loaded.
    from spotd.web.config.unverified import UnverifyingContext  # noqa: PLC0415

    cert = joined(directory, tls.cert_file).read_bytes() if tls.cert_file else tls.cert.encode()
    key = joined(directory, tls.key_file).read_bytes() if tls.key_file else tls.key.encode()
    curves = set(tls.curve_preferences)
    return UnverifyingContext(model, chain=cert, key=key, curve=curves.pop() if len(curves) == 1 else None)


def _load_client_ca(context: ssl.SSLContext, tls: TlsServer, directory: Path) -> None:
    if tls.client_ca_file:
        path = joined(directory, tls.client_ca_file)
        path.read_bytes()
        context.load_verify_locations(cafile=path)
    elif tls.client_ca:
        context.load_verify_locations(cadata=tls.client_ca)


def _choose(context: ssl.SSLContext, tls: TlsServer) -> None:
    """Cipher suites and curves."""
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    is_old = tls.min_version in {"TLS10", "TLS11"}
    if tls.cipher_suites:
        suites = [CIPHERS[name] for name in tls.cipher_suites if name in CIPHERS]
        if not suites:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
    else:
        suites = _OLD_SUITES if is_old else []
    if suites:
        # OpenSSL speaks TLS 1.0 and 1.1 on its lowest level of security alone.
        context.set_ciphers(":".join(["@SECLEVEL=0", *suites] if is_old else suites))
    curves = dict.fromkeys(tls.curve_preferences)
    if len(curves) == 1:
        context.set_ecdh_curve(CURVES[next(iter(curves))])
    elif curves and set(curves) != set(CURVES):
        # The order among all of them is left to OpenSSL; a selection cannot be told to it from Python.
        raise ValueError("curve_preferences: name one curve or all four, a selection is not supported")


def _checking(allowed: frozenset[str]) -> type[ssl.SSLObject]:
    class CheckingObject(ssl.SSLObject):
        """Ends a handshake whose client has none of the allowed names."""

        def do_handshake(self) -> None:
            """Shakes hands, then looks at the client's names."""
            super().do_handshake()
            peer: Any = self.getpeercert() or {}
            if not allowed & {_normal(value) for _, value in peer.get("subjectAltName", ())}:
                raise ssl.SSLCertVerificationError("the client's certificate has none of the allowed names")

    return CheckingObject


def _normal(name: str) -> str:
    """An address in one writing; any other name as it is."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"a certificate, key or CA cannot be used ({error.reason or 'no reason given'})"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be read: {(error.strerror or 'unknown reason').lower()}"
    return str(error)
