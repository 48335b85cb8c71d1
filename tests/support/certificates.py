"""Certificates for tests, and clients that trust them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from imserver.cli.self_signed import make_pair
from imserver.config import Tls

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("localhost", "127.0.0.1", "::1")


class Files(NamedTuple):
    """Where a certificate and its key are."""

    certificate: Path
    key: Path

    @property
    def setting(self) -> Tls:
        """For the server."""
        return Tls(str(self.certificate), str(self.key))

    def renew(self) -> str:
        """Put a new pair there; its fingerprint."""
        pair = make_pair(NAMES, 2, datetime.now(UTC))
        self.certificate.write_bytes(pair.certificate)
        self.key.write_bytes(pair.key)
        return pair.fingerprint


def trusting(certificate: Path | str) -> ssl.SSLContext:
    """For clients: trusts this certificate as it is now, and no other."""
    return ssl.create_default_context(cafile=certificate)


def certificate_in(folder: Path) -> Files:
    """A new certificate for this machine."""
    files = Files(folder / "cert.pem", folder / "key.pem")
    files.renew()
    return files
