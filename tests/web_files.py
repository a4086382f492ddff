"""Web configurations for tests: certificates, and a folder to lay them in."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import bcrypt
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

CA = trustme.CA(key_type=trustme.KeyType.RSA)
OTHER_CA = trustme.CA(key_type=trustme.KeyType.ECDSA)
SERVER = CA.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
SECOND = CA.issue_cert("localhost", "127.0.0.1", key_type=trustme.KeyType.RSA)
PASSWORD = "correct horse"
HASH = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
TLS = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


def lay(folder: Path, pair: trustme.LeafCert) -> None:
    """Puts a server's certificate and key where the configurations look for them."""
    pair.private_key_pem.write_to_path(folder / "server.key")
    (folder / "server.crt").write_bytes(b"".join(blob.bytes() for blob in pair.cert_chain_pems))


def written(folder: Path, text: str) -> Path:
    """The configuration as a file."""
    path = folder / "web.yml"
    path.write_text(text)
    return path


def indented(pem: bytes) -> str:
    """PEM as the value of an inline key."""
    return "".join(f"    {line}\n" for line in pem.decode().splitlines())


def self_signed(name: str, *, lifetime: timedelta = timedelta(days=1)) -> bytes:
    """Key and certificate of somebody whom nobody vouches for; a lifetime below zero is over."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + lifetime
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    encoding, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    return key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, no_password
    ) + certificate.public_bytes(encoding)
