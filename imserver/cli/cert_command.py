"""`imserver cert`: makes a self-signed certificate and its key."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import click

from imserver.cli.options import SETTINGS, examples, fail, located, settings_of
from imserver.cli.progress import refuse_to_replace
from imserver.cli.self_signed import default_names, make_pair
from imserver.store.database import StoreError
from imserver.store.ownership import make_folder
from imserver.store.tools.whole_files import making, must_not_be

_DAYS: Final = 825  # Apple's clients take no certificate that is good for longer
_PATH: Final = click.Path(path_type=Path, dir_okay=False)


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
        refuse_to_replace(path, force)
    names = names or tuple(default_names())
    now = datetime.now(UTC)
    try:
        for path in (certificate, key):
            must_not_be(path, Path(settings.database_path))
        must_not_be(certificate, key)
        pair = make_pair(names, days, now)
        for path, content, mode in ((key, pair.key, 0o600), (certificate, pair.certificate, 0o644)):
            make_folder(path.parent)
            with making(path) as partial:
                partial.write_bytes(content)
                partial.chmod(mode)
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
