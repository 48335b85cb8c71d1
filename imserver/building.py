"""Parts of the server as the configuration asks for them; `server` puts them together.

Each function makes one part, starts nothing and keeps nothing.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from imserver.config import ConfigError
from imserver.domain.model import DAY_MS
from imserver.live.backoff import Backoff
from imserver.live.rates import Rate
from imserver.service.accounts.registry import Accounts
from imserver.service.admission import Admission, Budget
from imserver.service.files.opening import FileService, open_files
from imserver.service.identity.modes import Identity, OpenIdentity, ProxyIdentity
from imserver.service.identity.token_identity import TokenIdentity
from imserver.service.upkeep.retention import Kept, Retention
from imserver.store.database import MEMORY
from imserver.store.files.contents import FOLDER as FILES_FOLDER
from imserver.store.files.uploaded import FileLimits
from imserver.store.ownership import make_folder
from imserver.store.tools.rotation import Rotation
from imserver.transport.gate import Gate
from imserver.transport.listeners import Listener, listening_unix
from imserver.transport.metrics import Metrics
from imserver.transport.requests import Requests
from imserver.transport.rest import RestRules
from imserver.transport.routes import RawRoute, Routes
from imserver.transport.self_description import self_description
from imserver.transport.tls import Certificate, TlsError
from imserver.transport.web_files import web_files

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager, ExitStack

    from imserver.config import Auth, Config
    from imserver.live.hub import Hub
    from imserver.service.engine import Engine
    from imserver.service.identity.pages import Pages
    from imserver.store.database import Database
    from imserver.transport.deadline import Times
    from imserver.transport.http2_lane import Http2Lane
    from imserver.transport.proxies import Proxies

logger = logging.getLogger(__name__)


def certificate(config: Config) -> Certificate | None:
    """The server's certificate, or None: it speaks without TLS.

    Raises:
        ConfigError: the certificate or its key is missing or cannot be used.
    """
    chain, key = config.tls.certificate, config.tls.key
    if bool(chain) is not bool(key):
        missing = "key" if chain else "certificate"
        raise ConfigError(f"tls.{missing} is missing: TLS needs a certificate and its key")
    if not chain:
        return None
    try:
        return Certificate(Path(chain), Path(key))
    except TlsError as error:
        raise ConfigError(f"tls.certificate: {error}") from None


def unix_listeners(config: Config, stack: ExitStack) -> list[Listener]:
    """The server's Unix sockets; the stack closes and removes them.

    Without its control socket a server serves all the same, and says so in its log.
    """
    listeners = []
    if config.socket:
        path, mode = Path(config.data) / config.socket, int(config.socket_mode, 8)
        listeners.append(stack.enter_context(listening_unix(path, mode)))
    if config.control_socket is not None:
        try:
            make_folder(config.control_socket.parent)
            control = listening_unix(config.control_socket, 0o600, operator=True)
            listeners.append(stack.enter_context(control))
        except OSError as error:
            logger.warning("no control socket, commands cannot reach this server: %s", error)
    return listeners


def rest_rules(
    config: Config,
    engine: Engine,
    pages: Pages,
    proxies: Proxies,
    gate: Gate | None,
    database: Database,
    raw: list[RawRoute],
) -> RestRules:
    """The rules of both HTTP lanes, with every route that is not an operation."""
    requests = Requests(access_log=config.log.access, refusals=engine.refusals)
    metrics = None
    if config.metrics.enabled:
        metrics = Metrics(engine, requests, database.sizes, _kept(config))
    return RestRules(
        engine,
        pages,
        proxies,
        Routes([*self_description(engine.identity.scheme, metrics), *raw, *web_pages(config)]),
        requests,
        gate,
        body_bytes=config.limits.body_bytes,
    )


def file_service(config: Config, engine: Engine) -> AbstractContextManager[FileService]:
    """Uploads and downloads; a database in memory keeps no files."""
    sizes = config.files
    return open_files(
        engine,
        None if config.database == MEMORY else Path(config.data) / FILES_FOLDER,
        FileLimits(
            round(sizes.max_megabytes * 1e6),
            round(sizes.user_megabytes * 1e6),
            round(sizes.total_megabytes * 1e6),
        ),
        unused_hours=sizes.unused_hours,
        strip_location=sizes.strip_location,
    )


def web_pages(config: Config) -> list[RawRoute]:
    """The routes of the web client, if it is on."""
    web = config.web
    if not web.enabled:
        return []
    return web_files(title=web.title, base_path=web.base_path, mode=config.auth.mode)


def http2_lane(rest: RestRules, times: Times, header_bytes: int) -> Http2Lane:
    """The HTTP/2 lane; `Edge` asks for it when the first client speaks HTTP/2."""
    # Here, so that a server to which nobody speaks HTTP/2 runs without what serves it.
    from imserver.transport.http2_lane import Http2Lane

    return Http2Lane(rest, times, header_bytes=header_bytes)


def accounts(auth: Auth, hub: Hub, clock: Callable[[], int]) -> Accounts:
    """The accounts of a server that keeps passwords and tokens itself."""
    # Here, so that a server without accounts starts without what hashes passwords.
    from imserver.service.accounts.hashing import Passwords

    backoff = Backoff(time.monotonic)
    return Accounts(hub, clock, Passwords(), backoff, token_days=auth.token_days)


def identity(auth: Auth, clock: Callable[[], int], accounts: Accounts | None) -> Identity:
    """How this server learns who a client is; `accounts` is given in mode `token` alone.

    Raises:
        ConfigError: the keys that check signatures cannot be used.
    """
    match auth.mode:
        case "open":
            return OpenIdentity()
        case "token":
            assert accounts is not None
            return TokenIdentity(accounts)
        case "proxy":
            return ProxyIdentity(auth.user_header, auth.administrators)
        case "jwt":
            # Here, so that a server that checks no signatures starts without them.
            from imserver.service.identity.jwt_identity import JwtIdentity
            from imserver.service.identity.jwt_keys import Keys, KeysError

            key_set = bool(auth.jwks_file)
            path = Path(auth.jwks_file or auth.key_file)
            try:
                keys = Keys(path, auth.algorithms, key_set=key_set)
            except KeysError as error:
                name = "jwks_file" if key_set else "key_file"
                raise ConfigError(f"auth.{name}: {path}: {error}") from None
            return JwtIdentity(
                keys,
                clock,
                issuer=auth.issuer,
                audience=auth.audience,
                user_claim=auth.user_claim,
                leeway=auth.leeway,
                administrators=auth.administrators,
            )


def admission(config: Config) -> Admission:
    """What each user and address may ask for."""
    rates = config.admission
    return Admission(
        {
            Budget.MESSAGES: Rate(rates.messages_per_second, rates.messages_burst),
            Budget.SYNCS: Rate(rates.syncs_per_second, rates.syncs_burst),
            Budget.REQUESTS: Rate(rates.requests_per_second, rates.requests_burst),
            Budget.LOGINS: Rate(rates.logins_per_second, rates.logins_burst),
        },
        time.monotonic,
        address_logins=Rate(rates.address_logins_per_second, rates.address_logins_burst),
        address_users=rates.address_users,
        user_sessions=rates.user_sessions,
    )


def gate(config: Config, room: int) -> Gate:
    """How many connections an address may make and hold, of the `room` that there is."""
    rates = config.admission
    return Gate(
        Rate(rates.connections_per_second, rates.connections_burst),
        time.monotonic,
        most_connections=rates.address_connections,
        room=room,
    )


def retention(config: Config, engine: Engine) -> Retention:
    """What removes old messages."""
    return Retention(engine, _kept(config), every=config.retention.every)


def _kept(config: Config) -> Kept:
    return Kept(
        round(config.retention.days * DAY_MS),
        round(config.retention.megabytes * 1e6),
        round(config.retention.audit_days * DAY_MS),
    )


def backups(config: Config, clock: Callable[[], int]) -> Rotation:
    """What makes scheduled backups."""
    return Rotation(
        Path(config.database_path),
        config.backup_folder,
        every=config.backup.every,
        keep=config.backup.keep,
        compressed=config.backup.compress,
        clock=clock,
    )
