"""`imserver cert`: a certificate that clients can trust, its key, and what is said of them."""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
import stat
import tomllib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from imserver.cli.program import program
from imserver.cli.self_signed import default_names, make_pair

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(program, ["cert", *arguments])


def test_it_is_for_its_names_and_for_a_server_and_can_sign_nothing() -> None:
    names = ["im.example", "*.im.example", "聊天.example", "10.1.2.3", "2001:db8::7"]
    pair = make_pair(names, 30, NOW)
    made = x509.load_pem_x509_certificate(pair.certificate)
    alternatives = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == [
        "im.example",
        "*.im.example",
        "xn--rss932g.example",
    ]
    assert alternatives.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address("10.1.2.3"),
        ipaddress.ip_address("2001:db8::7"),
    ]
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert not constraints.value.ca
    usage = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    assert made.not_valid_before_utc < NOW
    assert made.not_valid_after_utc == NOW + timedelta(days=30)
    assert pair.fingerprint == made.fingerprint(hashes.SHA256()).hex(":").upper()


@pytest.mark.parametrize("name", ["", " ", "a b", "a..b/", "http://x", "-a", "x" * 64, "a\0b"])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no host's name and no address"):
        make_pair([name], 1, NOW)


def test_without_names_it_is_for_this_machine() -> None:
    assert default_names()[-3:] == ["localhost", "127.0.0.1", "::1"]


def test_it_makes_both_files_and_says_what_to_do_with_them(folder: Path) -> None:
    result = run()
    assert result.exit_code == 0, result.output
    certificate, key = folder / "data" / "cert.pem", folder / "data" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert sorted(os.listdir(folder / "data")) == ["cert.pem", "key.pem"]
    made = x509.load_pem_x509_certificate(certificate.read_bytes())
    assert made.fingerprint(hashes.SHA256()).hex(":").upper() in result.output
    settings = re.search(r"^\[tls\]\n(.+\n)+?\n", result.output, re.MULTILINE)
    assert settings is not None
    assert tomllib.loads(settings[0])["tls"] == {"certificate": str(certificate), "key": str(key)}
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    assert key.read_text().splitlines()[1] not in result.output


def test_what_is_there_is_replaced_only_if_told_to(folder: Path) -> None:
    assert run("im.example").exit_code == 0
    before = (folder / "data" / "cert.pem").read_bytes()
    refused = run()
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert (folder / "data" / "cert.pem").read_bytes() == before
    assert run("--force").exit_code == 0
    assert (folder / "data" / "cert.pem").read_bytes() != before


def test_it_renews_what_the_settings_name(folder: Path) -> None:
    (folder / "config.toml").write_text('[tls]\ncertificate = "a/c"\nkey = "b/k"\n')
    assert run("--days", "3").exit_code == 0
    made = x509.load_pem_x509_certificate((folder / "a" / "c").read_bytes())
    assert made.not_valid_after_utc - made.not_valid_before_utc == timedelta(days=3, hours=1)
    assert (folder / "b" / "k").exists()


def test_it_goes_where_it_is_told(folder: Path) -> None:
    result = run("--certificate", "here.pem", "--key", "there.pem", "10.0.0.1")
    assert result.exit_code == 0, result.output
    assert sorted(os.listdir(folder)) == ["here.pem", "there.pem"]


@pytest.mark.parametrize(
    "arguments", [("bad name",), ("--days", "0"), ("--certificate", "config.toml/x")]
)
def test_what_cannot_be_is_said_in_one_sentence(folder: Path, arguments: tuple[str, ...]) -> None:
    (folder / "config.toml").touch()
    result = run(*arguments)
    assert result.exit_code != 0
    assert "Traceback" not in result.output
