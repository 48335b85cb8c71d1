"""Self-signed certificates, for servers that no public authority knows."""

from __future__ import annotations

import ipaddress
import re
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

_BACKDATED: Final = timedelta(hours=1)  # for clients whose clocks are slow
_MOST_COMMON_NAME: Final = 64  # characters (RFC 5280 appendix A)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_MOST_NAME: Final = 253  # characters of a host's name (RFC 1035)


class Pair(NamedTuple):
    """A certificate and its key, as PEM."""

    certificate: bytes
    key: bytes
    fingerprint: str  # SHA-256, as browsers show it


def make_pair(names: Sequence[str], days: int, now: datetime) -> Pair:
    """A new self-signed certificate for these host names and addresses, good for so many days.

    It can sign no others: clients may trust it without trusting its holder with more.

    Raises:
        ValueError: a name is none; the text is a sentence that says which.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    alternatives = x509.SubjectAlternativeName([_general_name(name) for name in names])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0][:_MOST_COMMON_NAME])])
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=False, crl_sign=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip
    public = key.public_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(alternatives, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.fingerprint(hashes.SHA256()).hex(":").upper(),
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        pass
    try:
        ascii_name = name if name.isascii() else name.encode("idna").decode()
    except UnicodeError:
        ascii_name = ""
    if not _is_host_name(ascii_name.removeprefix("*.")):
        raise ValueError(f"{name!r} is no host's name and no address")
    return x509.DNSName(ascii_name)


def _is_host_name(name: str) -> bool:
    return len(name) <= _MOST_NAME and all(_LABEL.fullmatch(label) for label in name.split("."))


def default_names() -> list[str]:
    """What this machine is called, and how it calls itself."""
    own = socket.gethostname()
    named = [own] if _is_host_name(own) and own != "localhost" else []
    return [*named, "localhost", "127.0.0.1", "::1"]
