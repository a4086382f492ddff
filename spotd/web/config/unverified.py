"""TLS that wants a certificate of every client and believes none of them, which Python's own cannot do.

Python's `ssl` verifies each certificate that it requires. Here OpenSSL is asked through pyOpenSSL, behind
the few methods of `ssl.SSLObject` that asyncio calls. The client proves that it has the certificate's key and
nothing else: the certificate is not shown to anybody.
"""

import ssl
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from OpenSSL import SSL

RECORD_BYTES = 16384
"""The most that one record of TLS carries."""
_ALPN = b"http/1.1"
_NO_CALLBACKS = (
    "RequireAnyClientCert needs memory that is writable and executable: "
    "set MemoryDenyWriteExecute=no in the systemd unit, or use RequireAndVerifyClientCert"
)
_CURVES: dict[str, ec.EllipticCurve] = {
    "CurveP256": ec.SECP256R1(),
    "CurveP384": ec.SECP384R1(),
    "CurveP521": ec.SECP521R1(),
}
_Value = TypeVar("_Value")


class UnverifyingContext:
    """Makes each connection's TLS; nobody gets in without a certificate."""

    def __init__(self, model: ssl.SSLContext, *, chain: bytes, key: bytes, curve: str | None) -> None:
        """Takes versions and cipher suites from the model.

        Args:
            model: Python's context of the same configuration.
            chain: The server's certificate and those above it, as PEM.
            key: Its key, as PEM without a password.
            curve: The one curve that may be used, by Go's name; None for OpenSSL's choice.

        Raises:
            ValueError: Something of it cannot be used.
        """
        if curve is not None and curve not in _CURVES:
            raise ValueError(f"curve_preferences: {curve} alone does not go with RequireAnyClientCert")
        context = SSL.Context(SSL.TLS_SERVER_METHOD)
        context.set_min_proto_version(model.minimum_version)
        context.set_max_proto_version(model.maximum_version)
        context.set_options(SSL.OP_NO_COMPRESSION)
        if model.options & ssl.OP_CIPHER_SERVER_PREFERENCE:
            context.set_options(SSL.OP_CIPHER_SERVER_PREFERENCE)
        # A resumed session has its client's certificate in it; OpenSSL wants to know whose sessions they are.
        context.set_session_id(b"spotd")
        try:
            context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _any_certificate)
            context.set_alpn_select_callback(_choose_protocol)
        except MemoryError:  # cffi makes its callbacks there
            raise ValueError(_NO_CALLBACKS) from None
        try:
            _load(context, chain, key)
            if curve is not None:
                context.set_tmp_ecdh(_CURVES[curve])
            context.set_cipher_list(_suites(model))  # the last: it tries a connection, which ends all changes
        except (SSL.Error, TypeError, UnsupportedAlgorithm) as error:
            raise ValueError(f"a certificate, key or cipher cannot be used ({_reason(error)})") from None
        self._context = context

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,  # noqa: FBT001, FBT002 - as ssl.SSLContext has it
        server_hostname: str | None = None,
    ) -> "UnverifiedTls":
        """A connection's TLS between two buffers, as `ssl.SSLContext.wrap_bio` makes it."""
        if not server_side or server_hostname is not None:
            raise ValueError("only a server may be content with any certificate")
        return UnverifiedTls(SSL.Connection(self._context, None), incoming, outgoing)


class UnverifiedTls:
    """What asyncio uses of `ssl.SSLObject`, with its errors."""

    def __init__(self, connection: SSL.Connection, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        connection.set_accept_state()
        self._connection = connection
        self._incoming = incoming
        self._outgoing = outgoing
        self._has_ended = False

    def do_handshake(self) -> None:
        """Goes on with the handshake."""
        self._step(self._connection.do_handshake)

    def read(self, length: int = 1024, buffer: Any = None) -> Any:
        """Up to so many bytes, or their number where a buffer took them; none once the client closed."""
        length = min(length, RECORD_BYTES)
        try:
            if buffer is None:
                return self._step(self._connection.recv, length)
            return self._step(self._connection.recv_into, buffer, length)
        except ssl.SSLZeroReturnError:
            if self._connection.get_shutdown() != SSL.RECEIVED_SHUTDOWN:
                raise
            return b"" if buffer is None else 0

    def write(self, data: Any) -> int:
        """Encrypts the data; the number of bytes that were taken."""
        rest = memoryview(data).cast("B")
        taken = 0
        while taken < len(rest):
            try:
                taken += self._step(self._connection.send, rest[taken : taken + RECORD_BYTES])
            except ssl.SSLWantReadError:
                if not taken:
                    raise
                break
        return taken

    def unwrap(self) -> None:
        """Says that nothing more comes, and waits for the client to say so."""
        if not self._step(self._connection.shutdown):
            self._step(self._connection.shutdown)

    def pending(self) -> int:
        """How many decrypted bytes wait to be read."""
        return self._connection.pending()

    def getpeercert(self, binary_form: bool = False) -> dict[str, Any] | None:  # noqa: FBT001, FBT002 - as in ssl
        """Nothing: what nobody verified names nobody."""
        return None if binary_form else {}

    def cipher(self) -> tuple[str, str, int] | None:
        """The cipher suite, the version that defines it, and its bits."""
        name, version, bits = (
            self._connection.get_cipher_name(),
            self._connection.get_cipher_version(),
            self._connection.get_cipher_bits(),
        )
        return None if name is None or version is None or bits is None else (name, version, bits)

    def compression(self) -> None:
        """None: nothing is compressed."""

    def version(self) -> str:
        """The version of TLS."""
        return self._connection.get_protocol_version_name()

    def selected_alpn_protocol(self) -> str | None:
        """The protocol that client and server agreed on, if they spoke of it."""
        return self._connection.get_alpn_proto_negotiated().decode("ascii") or None

    def _step(self, step: Callable[..., _Value], *arguments: Any) -> _Value:
        """Takes a step with what has come in, and hands on what is to be sent, an alert too."""
        try:
            while True:
                try:
                    return step(*arguments)
                except SSL.WantReadError:
                    if not self._take_in():
                        raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "more is to come") from None
        except SSL.ZeroReturnError:
            raise ssl.SSLZeroReturnError(ssl.SSL_ERROR_ZERO_RETURN, "the client closed") from None
        except SSL.SysCallError:
            raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "the connection ended in the middle of TLS") from None
        except SSL.Error as error:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, _reason(error)) from None
        finally:
            self._hand_on()

    def _take_in(self) -> bool:
        """Takes no more than is needed: what stays outside is what asyncio counts to slow a client down."""
        data = self._incoming.read(RECORD_BYTES)
        if data:
            self._connection.bio_write(data)
            return True
        if not self._incoming.eof or self._has_ended:
            return False
        self._connection.bio_shutdown()
        self._has_ended = True
        return True

    def _hand_on(self) -> None:
        while True:
            try:
                self._outgoing.write(self._connection.bio_read(RECORD_BYTES))
            except SSL.WantReadError:
                return


def _any_certificate(*_: Any) -> Literal[True]:
    return True


def _choose_protocol(_: SSL.Connection, offered: list[bytes]) -> Any:
    """As Python's: a client that offers other protocols alone is spoken to all the same."""
    return _ALPN if _ALPN in offered else SSL.NO_OVERLAPPING_PROTOCOLS


def _suites(model: ssl.SSLContext) -> bytes:
    """The model's suites and level of security; those of TLS 1.3 cannot be chosen."""
    names = [suite["name"] for suite in model.get_ciphers() if suite["protocol"] != "TLSv1.3"]
    return ":".join([f"@SECLEVEL={model.security_level}", *(names or ["DEFAULT"])]).encode("ascii")


def _load(context: SSL.Context, chain: bytes, key: bytes) -> None:
    own, *above = x509.load_pem_x509_certificates(chain)
    context.use_certificate(own)
    for certificate in above:
        context.add_extra_chain_cert(certificate)
    context.use_privatekey(load_pem_private_key(key, password=None))  # type: ignore[arg-type]  # others raise
    context.check_privatekey()


def _reason(error: Exception) -> str:
    """OpenSSL's reason, which names no key."""
    if isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list):
        return ", ".join(str(entry[2]) for entry in error.args[0]) or "no reason given"
    return str(error) or "no reason given"
