"""Settings: frozen structs from `config.toml`, the environment and flags, the latter first.

The fields' docstrings stand in `config.toml`, which documents every setting with its default; a
test holds the two together. Known to the command line and the composition root alone: everyone
else is handed plain values.
"""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from imserver import setting_kinds
from imserver.environment import PREFIX, given
from imserver.service.identity.origins import listed_origin

DEFAULT_FILE = "config.toml"

Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Bytes = Annotated[int, Meta(ge=1024, le=1 << 30)]
Count = Annotated[int, Meta(ge=1, le=10_000_000)]
Name = Annotated[str, Meta(min_length=1)]
PerSecond = Annotated[float, Meta(ge=0.001, le=1_000_000)]


class ConfigError(Exception):
    """A setting that cannot be used; the text is one sentence that names its key."""


class Auth(Struct, frozen=True, forbid_unknown_fields=True):
    """[auth]: who callers are"""

    mode: Literal["open", "token", "jwt", "proxy"] = "open"
    token_days: Annotated[float, Meta(ge=0.01, le=3650)] = 30.0
    administrators: tuple[Name, ...] = ()
    algorithms: tuple[Literal["HS256", "RS256", "ES256", "EdDSA"], ...] = ()
    key_file: str = ""
    jwks_file: str = ""
    issuer: str = ""
    audience: str = ""
    user_claim: Name = "sub"
    leeway: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    user_header: Name = "X-User-ID"


class Log(Struct, frozen=True, forbid_unknown_fields=True):
    """[log]"""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "human", "json"] = "auto"
    access: bool = False


class Tls(Struct, frozen=True, forbid_unknown_fields=True):
    """[tls]"""

    certificate: str = ""
    key: str = ""


class Metrics(Struct, frozen=True, forbid_unknown_fields=True):
    """[metrics]"""

    enabled: bool = True


class Web(Struct, frozen=True, forbid_unknown_fields=True):
    """[web]: the web client"""

    enabled: bool = True
    title: Annotated[str, Meta(min_length=1, max_length=64)] = "imserver"
    base_path: str = ""


class Store(Struct, frozen=True, forbid_unknown_fields=True):
    """[store]"""

    synchronous: Literal["FULL", "NORMAL"] = "FULL"
    readers: Annotated[int, Meta(ge=1, le=64)] = 4
    batch: Count = 1000
    pending_writes: Count = 10_000
    pending_seconds: Seconds = 10.0


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """[limits]"""

    content_bytes: Bytes = 64 * 1024
    body_bytes: Bytes = 1024 * 1024
    frame_bytes: Bytes = 1024 * 1024
    header_bytes: Bytes = 32 * 1024
    page_bytes: Bytes = 512 * 1024
    outbox_bytes: Bytes = 1024 * 1024
    group_members: Count = 20_000
    members_at_once: Count = 1000
    connections: Count = 1_000_000


class Timeouts(Struct, frozen=True, forbid_unknown_fields=True):
    """[timeouts], in seconds"""

    request_head: Seconds = 10.0
    login: Seconds = 10.0
    ping: Seconds = 30.0
    silence: Seconds = 90.0
    request_body: Seconds = 30.0
    rest_idle: Seconds = 75.0
    shutdown: Seconds = 10.0


class Backup(Struct, frozen=True, forbid_unknown_fields=True):
    """[backup]"""

    every: Annotated[float, Meta(ge=0, le=31 * 86_400)] = 0.0
    keep: Count = 7
    folder: Annotated[str, Meta(min_length=1)] = "backups"
    compress: bool = False


class Retention(Struct, frozen=True, forbid_unknown_fields=True):
    """[retention]: how long messages are kept"""

    days: Annotated[float, Meta(ge=0, le=36_500)] = 0.0
    megabytes: Annotated[float, Meta(ge=0, le=100_000_000)] = 0.0
    audit_days: Annotated[float, Meta(ge=0, le=36_500)] = 365.0
    every: Annotated[float, Meta(ge=1, le=31 * 86_400)] = 3600.0


class Files(Struct, frozen=True, forbid_unknown_fields=True):
    """[files]: what users may upload"""

    max_megabytes: Annotated[float, Meta(ge=0.001, le=1_000_000)] = 100.0
    user_megabytes: Annotated[float, Meta(ge=0, le=100_000_000)] = 2000.0
    total_megabytes: Annotated[float, Meta(ge=0, le=100_000_000)] = 0.0
    unused_hours: Annotated[float, Meta(ge=0.01, le=8760)] = 24.0
    strip_location: bool = True


class Admission(Struct, frozen=True, forbid_unknown_fields=True):
    """[admission]: what one user or address may ask for"""

    mode: Literal["auto", "on", "off"] = "auto"
    messages_per_second: PerSecond = 20.0
    messages_burst: Count = 200
    syncs_per_second: PerSecond = 10.0
    syncs_burst: Count = 200
    requests_per_second: PerSecond = 20.0
    requests_burst: Count = 400
    logins_per_second: PerSecond = 1000.0
    logins_burst: Count = 5000
    address_logins_per_second: PerSecond = 20.0
    address_logins_burst: Count = 400
    address_users: Count = 10
    user_sessions: Count = 50
    connections_per_second: PerSecond = 20.0
    connections_burst: Count = 200
    address_connections: Count = 1000


class Config(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All settings. Sizes are bytes, times are seconds."""

    host: Annotated[str, Meta(min_length=1)] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535)] = 8080
    socket: str = ""
    socket_mode: str = "0660"
    data: Annotated[str, Meta(min_length=1)] = "data"
    database: Annotated[str, Meta(min_length=1)] = "imserver.db"
    allow_open_network: bool = False
    hosts: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    origins: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    proxies: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    auth: Auth = Auth()
    tls: Tls = Tls()
    log: Log = Log()
    metrics: Metrics = Metrics()
    web: Web = Web()
    store: Store = Store()
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    backup: Backup = Backup()
    retention: Retention = Retention()
    files: Files = Files()
    admission: Admission = Admission()

    @property
    def limits_admission(self) -> bool:
        """Whether users and addresses are held to rates.

        By itself, everywhere but where the server is open and on loopback only.
        """
        by_itself = self.auth.mode != "open" or not setting_kinds.is_loopback(self.host)
        return self.admission.mode == "on" or (self.admission.mode == "auto" and by_itself)

    @property
    def database_path(self) -> str:
        """The database's file, or `:memory:`."""
        if self.database == ":memory:":
            return self.database
        return str(Path(self.data) / self.database)

    @property
    def control_socket(self) -> Path | None:
        """The Unix socket by which the server's own account commands it; None: nothing is kept."""
        return None if self.database == ":memory:" else Path(self.data) / "control.sock"

    @property
    def backup_folder(self) -> Path:
        """Where scheduled backups go."""
        return Path(self.data) / self.backup.folder

    def check(self) -> None:
        """Refuse settings that cannot be, or do not go together.

        Raises:
            ConfigError: naming the key.
        """
        try:  # a program may have made them of anything
            msgspec.convert(msgspec.to_builtins(self), Config)
        except msgspec.ValidationError as error:
            raise ConfigError(setting_kinds.wrong(Config, self, error)[1]) from None
        for name in ("data", "database", "socket"):
            if not setting_kinds.is_utf8(getattr(self, name)):
                raise ConfigError(f"{name} must be a name in UTF-8: SQLite takes no other")
        if self.auth.mode == "open" and not (
            self.allow_open_network or setting_kinds.is_loopback(self.host)
        ):
            raise ConfigError(
                f"host = {self.host!r} is not loopback, and in open mode anyone who reaches it "
                "may be anyone: set allow_open_network = true if that is what you want"
            )
        if not re.fullmatch("0?[0-7]{3}", self.socket_mode):
            raise ConfigError('socket_mode must be octal, such as "0660"')
        if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)*", self.web.base_path):
            raise ConfigError('web.base_path must be "" or a path such as "/chat"')
        for name in self.hosts:
            if not re.fullmatch(r"[^\s:/?#@,\\\[\]]+|\[?[0-9A-Fa-f:.]+\]?", name):
                raise ConfigError(f"hosts: {name!r} is no name or address without a port")
        for origin in self.origins:
            _check_origin(origin)
        for proxy in self.proxies:
            if not setting_kinds.is_proxy(proxy):
                raise ConfigError(
                    f"proxies: {proxy!r} is no address, no network such as "
                    '"10.0.0.0/8", and not "unix"'
                )
        self._check_auth()
        if self.timeouts.silence <= self.timeouts.ping:
            raise ConfigError("timeouts.silence must be longer than timeouts.ping")
        if self.limits.content_bytes > self.limits.frame_bytes:
            raise ConfigError("limits.content_bytes must not exceed limits.frame_bytes")
        if 0 < self.backup.every < 1:
            raise ConfigError("backup.every must be 0 (off) or at least 1 second")
        if self.backup.every and self.database == ":memory:":
            raise ConfigError("backup.every must be 0 (off) for a database in memory")

    def _check_auth(self) -> None:
        auth = self.auth
        if not re.fullmatch(r"[A-Za-z0-9-]+", auth.user_header):
            raise ConfigError("auth.user_header: a header's name has letters, digits and hyphens")
        if auth.mode == "proxy" and not self.proxies:
            raise ConfigError(
                'proxies is empty: auth.mode = "proxy" believes the proxies that it lists, and '
                "nobody else"
            )
        if auth.mode != "jwt":
            return
        if not auth.algorithms:
            raise ConfigError('auth.algorithms is empty: auth.mode = "jwt" needs to know them')
        if bool(auth.key_file) is bool(auth.jwks_file):
            raise ConfigError('auth.mode = "jwt" needs one of auth.key_file and auth.jwks_file')
        if auth.key_file and len(auth.algorithms) > 1:
            raise ConfigError(
                "auth.algorithms must be the one that the key in auth.key_file is for"
            )


def _check_origin(origin: str) -> None:
    try:
        listed_origin(origin)
    except ValueError as error:
        raise ConfigError(f"origins: {error}") from None


def load_config(
    file: Path | None = None,
    *,
    environment: dict[str, str] | None = None,
    flags: dict[str, Any] | None = None,
) -> Config:
    """The settings of this run: flags over environment over file over defaults.

    `file` must exist; without it, `config.toml` in the working folder is read if it is there.
    Flags with the value None and empty variables do not count.

    Raises:
        ConfigError: an unknown key, a wrong type or an impossible value; names the key.
    """
    text = _read_file(file)
    path = Path(DEFAULT_FILE) if file is None else file
    settings = _parse(path, text)
    origins = {}  # of keys that do not come from the file
    try:
        msgspec.convert(settings, Config)  # a file's types must be right
    except msgspec.ValidationError as error:
        key, sentence = setting_kinds.wrong(Config, settings, error)
        raise ConfigError(f"{sentence} ({path}{setting_kinds.line_of(text, key)})") from None
    for path_to, value in _from_environment(os.environ if environment is None else environment):
        _put(settings, path_to, value.split(",") if _is_list(path_to) else value)
        origins[".".join(path_to)] = environment_name(path_to)
    for name, value in (flags or {}).items():
        if value is not None:
            _put(settings, tuple(name.split(".")), value)
            origins[name] = f"--{name.replace('.', '-')}"
    try:
        # Variables and flags are text; numbers in them are numbers (strict=False).
        config = msgspec.convert(settings, Config, strict=False)
    except msgspec.ValidationError as error:
        key, sentence = setting_kinds.wrong(Config, settings, error)
        origin = origins.get(key.partition("[")[0])
        raise ConfigError(f"{sentence} ({origin})" if origin else sentence) from None
    try:
        config.check()
    except ConfigError as error:
        key = re.split(r"[ :\[]", str(error), maxsplit=1)[0]
        line = setting_kinds.line_of(text, key)
        origin = origins.get(key) or (f"{path}{line}" if line else None)
        raise ConfigError(f"{error} ({origin})" if origin else str(error)) from None
    return config


def _read_file(file: Path | None) -> str:
    path = Path(DEFAULT_FILE) if file is None else file
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        if file is None:
            return ""
        raise ConfigError(f"{path}: there is no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


def _parse(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from None


def settings() -> list[tuple[str, ...]]:
    """Every setting's key, as the path to it."""
    keys: list[tuple[str, ...]] = []
    for field in msgspec.structs.fields(Config):
        if isinstance(field.type, type) and issubclass(field.type, Struct):
            keys += [(field.name, inner.name) for inner in msgspec.structs.fields(field.type)]
        else:
            keys.append((field.name,))
    return keys


def _is_list(key: tuple[str, ...]) -> bool:
    default: Any = Config()
    for name in key:
        default = getattr(default, name)
    return isinstance(default, tuple)


def environment_name(key: tuple[str, ...]) -> str:
    """The environment variable of a setting: IMSERVER_PORT, IMSERVER_LOG_LEVEL."""
    return PREFIX + "_".join(key).upper()


def _from_environment(
    environment: dict[str, str] | os._Environ[str],
) -> list[tuple[tuple[str, ...], str]]:
    known = {environment_name(key): key for key in settings()}
    found = []
    for name, value in given(environment).items():
        if name not in known:
            hint = setting_kinds.nearest(name, list(known))
            raise ConfigError(f"{name}: there is no such setting{hint}")
        found.append((known[name], value))
    return found


def _put(settings: dict[str, Any], key: tuple[str, ...], value: Any) -> None:
    *sections, name = key
    for section in sections:
        inner = settings.setdefault(section, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"{section} is a section, not a value")
        settings = inner
    settings[name] = value
