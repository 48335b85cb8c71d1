"""The command that makes a self-signed certificate, for a server that no public authority knows."""

from __future__ import annotations

import ipaddress
import json
import os
import re
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from imserver.commands import SETTINGS, examples, fail, located, settings_of
from imserver.store.database import StoreError
from imserver.store.tools.whole_files import making

if TYPE_CHECKING:
    from collections.abc import Sequence

_DAYS: Final = 825  # Apple's clients take no certificate that is good for longer
_BACKDATED: Final = timedelta(hours=1)  # for clients whose clocks are slow
_MOST_COMMON_NAME: Final = 64  # characters (RFC 5280 appendix A)
_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_MOST_NAME: Final = 253  # characters of a host's name (RFC 1035)
_PATH = click.Path(path_type=Path, dir_okay=False)


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


@click.command(
    "cert",
    context_settings=SETTINGS,
    epilog=examples(
        "imserver cert",
        "imserver cert chat.intranet.example 10.1.2.3",
        "imserver cert --force --config /etc/imserver/config.toml",
    ),
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--days", type=click.IntRange(1, 36_500), default=_DAYS, show_default=True,
              help="How long it is good.")  # fmt: skip
@click.option(
    "--certificate",
    type=_PATH,
    help="Where it goes.  [default: tls.certificate, or cert.pem in the data folder]",
)
@click.option(
    "--key",
    type=_PATH,
    help="Where its key goes.  [default: tls.key, or key.pem in the data folder]",
)
@click.option("--force", is_flag=True, help="Replace what is there.")
@located
@click.pass_context
def cert(
    context: click.Context,
    names: tuple[str, ...],
    days: int,
    certificate: Path | None,
    key: Path | None,
    force: bool,
    data: str | None,
    config: Path | None,
) -> None:
    """Make a self-signed certificate and its key, for TLS without a public authority.

    NAMEs are the host names and addresses under which clients reach the server; without any, this
    machine's name, localhost, 127.0.0.1 and ::1.
    """
    settings = settings_of(context, config, data)
    folder = Path(settings.data)
    certificate = certificate or Path(settings.tls.certificate or folder / "cert.pem")
    key = key or Path(settings.tls.key or folder / "key.pem")
    for path in (certificate, key):
        if path.exists() and not force:
            fail(f"{path} is there already: --force replaces it")
    names = names or tuple(default_names())
    now = datetime.now(UTC)
    try:
        pair = make_pair(names, days, now)
        for path, content, mode in ((key, pair.key, 0o600), (certificate, pair.certificate, 0o644)):
            path.parent.mkdir(parents=True, exist_ok=True)
            with making(path) as partial:
                partial.write_bytes(content)
                os.chmod(partial, mode)
                if os.geteuid() == 0:  # it is for the server, not for root
                    owner = path.parent.stat()
                    os.chown(partial, owner.st_uid, owner.st_gid)
    except (OSError, StoreError, ValueError) as error:
        fail(str(error))
    print(
        f"certificate  {certificate}\n"
        f"key          {key}, for the server's account alone\n"
        f"for          {', '.join(names)}\n"
        f"good until   {now + timedelta(days=days):%Y-%m-%d}\n"
        f"SHA-256      {pair.fingerprint}\n"
        "\n"
        "For the server, in config.toml; then restart it, or, where it had a certificate already,\n"
        "have it read this one by SIGHUP:\n"
        "\n"
        "[tls]\n"
        f"certificate = {_toml(certificate)}\n"
        f"key = {_toml(key)}\n"
        "\n"
        "For clients: give them the certificate, never the key, and have them trust it:\n"
        f"curl --cacert {certificate.name}, imserver chat --ca-file {certificate.name},\n"
        "or import it where a browser or system keeps certificates that it trusts. Whoever is\n"
        "asked by a browser whether to go on compares the SHA-256 fingerprint first."
    )


def _toml(path: Path) -> str:
    # A TOML basic string escapes what a JSON string does.
    return json.dumps(str(path.absolute()), ensure_ascii=False)
