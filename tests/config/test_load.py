"""Settings: where they come from, which wins, and what is said of those that cannot be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import pytest

from imserver.chat.start import TOKEN_VARIABLE
from imserver.config import (
    Config,
    ConfigError,
    Limits,
    Timeouts,
    environment_name,
    load_config,
    settings,
)
from imserver.environment import CONFIG_VARIABLE, ignored
from imserver.setting_kinds import is_loopback

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of the test's own, so that nobody's config.toml is read."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(folder: Path, text: str, name: str = "config.toml") -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    return path


def at(config: Config, key: tuple[str, ...]) -> Any:
    value: Any = config
    for name in key:
        value = getattr(value, name)
    return value


# -- precedence ----------------------------------------------------------------------------------


def test_without_anything_the_defaults_hold() -> None:
    assert load_config(environment={}) == Config()


def test_flags_over_environment_over_file_over_defaults(elsewhere: Path) -> None:
    write(elsewhere, 'port = 1\ndata = "file"\nhost = "127.0.0.2"\n[log]\nlevel = "error"\n')
    config = load_config(
        environment={
            "IMSERVER_PORT": "2",
            "IMSERVER_DATA": "environment",
            "IMSERVER_LOG_LEVEL": "warning",
        },
        flags={"port": 3, "log.level": "debug"},
    )
    assert config.port == 3
    assert config.log.level == "debug"
    assert config.data == "environment"
    assert config.host == "127.0.0.2"
    assert config.database == Config().database


def test_a_flag_that_is_not_given_and_an_empty_variable_do_not_count(elsewhere: Path) -> None:
    write(elsewhere, "port = 1\n")
    config = load_config(environment={"IMSERVER_PORT": ""}, flags={"port": None})
    assert config.port == 1


def test_a_flag_of_zero_counts(elsewhere: Path) -> None:
    write(elsewhere, "port = 1\n")
    assert load_config(environment={}, flags={"port": 0}).port == 0


def test_a_section_of_the_file_keeps_the_defaults_of_what_it_leaves_out(elsewhere: Path) -> None:
    write(elsewhere, "[timeouts]\nlogin = 3\n")
    config = load_config(environment={})
    assert config.timeouts == Timeouts(login=3.0)
    assert config.limits == Limits()


def test_a_named_file_is_read_instead_of_the_one_in_the_working_folder(elsewhere: Path) -> None:
    write(elsewhere, "port = 1\n")
    named = write(elsewhere, "port = 2\n", "other.toml")
    assert load_config(named, environment={}).port == 2


# -- every setting has its variable --------------------------------------------------------------


def another(key: tuple[str, ...]) -> Any:
    """A value of the same type that is possible too, and is not the default."""
    value = at(Config(), key)
    kind: Any = Config
    for name in key:
        kind = get_type_hints(kind)[name]
    if get_origin(kind) is Literal:
        return next(choice for choice in get_args(kind) if choice != value)
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case "127.0.0.1":
            return "::1"
        case "0660":
            return "0600"
        case "" if key == ("web", "base_path"):
            return "/chat"
        case str():
            return value + "2"
        case () if key == ("proxies",):
            return ("10.0.0.0/8", "unix")
        case () if key == ("hosts",):
            return ("chat.example", "[2001:db8::1]")
        case () if key == ("auth", "algorithms"):
            return ("RS256", "EdDSA")
        case ():
            return ("https://one.example", "https://two.example")


# What has to be said besides.
ALONG: dict[tuple[str, ...], dict[str, Any]] = {
    ("auth", "mode"): {"auth.algorithms": ("RS256",), "auth.key_file": "key.pem"},
}


@pytest.mark.parametrize("key", settings(), ids=".".join)
def test_every_setting_has_a_variable_and_a_flag(key: tuple[str, ...]) -> None:
    wanted = another(key)
    match wanted:
        case bool():
            text = str(wanted).lower()
        case tuple():
            text = ",".join(wanted)
        case _:
            text = str(wanted)
    along = ALONG.get(key, {})
    named = {environment_name(key): text}
    assert at(load_config(environment=named, flags=along), key) == wanted
    flags = along | {".".join(key): wanted}
    assert at(load_config(environment={}, flags=flags), key) == wanted


def test_the_names_of_variables_are_those_that_are_documented() -> None:
    assert environment_name(("port",)) == "IMSERVER_PORT"
    assert environment_name(("log", "level")) == "IMSERVER_LOG_LEVEL"
    assert environment_name(("store", "pending_writes")) == "IMSERVER_STORE_PENDING_WRITES"
    names = [environment_name(key) for key in settings()]
    assert len(set(names)) == len(names), "two settings have one variable"


def test_variables_of_others_are_nobodys_concern() -> None:
    assert load_config(environment={"PATH": "/bin", "IMSERVERX": "1"}) == Config()


def test_what_is_the_command_lines_is_no_setting() -> None:
    for name in (CONFIG_VARIABLE, TOKEN_VARIABLE):
        assert load_config(environment={name: "elsewhere"}) == Config()


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("IMSERVER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("IMSERVER_PORT", "4711")
    assert load_config().port == 4711


@pytest.mark.parametrize("text", ["true", "1"])
def test_true_in_the_environment(text: str) -> None:
    environment = {"IMSERVER_ALLOW_OPEN_NETWORK": text, "IMSERVER_HOST": "0.0.0.0"}
    assert load_config(environment=environment).allow_open_network


# -- what cannot be ------------------------------------------------------------------------------


def refused(text: str, key: str) -> None:
    """One sentence, which names the key and quotes no Python."""
    assert text.startswith(f"{key}: ") or f" {key} " in f" {text} "
    assert "\n" not in text
    for inside in ("$", "Traceback", "msgspec", "<class"):
        assert inside not in text


FILES = [
    ("prot = 8080", "prot"),
    ("[log]\nlevle = 'info'", "log.levle"),
    ("[limit]\nframe_bytes = 70000", "limit"),
    ("[timeouts.more]\nlogin = 1", "timeouts.more"),
    ("port = '8080'", "port"),
    ("port = 80.5", "port"),
    ("port = true", "port"),
    ("port = -1", "port"),
    ("port = 65536", "port"),
    ("port = [8080]", "port"),
    ("host = ''", "host"),
    ("host = 127", "host"),
    ("data = ''", "data"),
    ("database = ''", "database"),
    ("allow_open_network = 'yes'", "allow_open_network"),
    ("log = 'info'", "log"),
    ("[log]\nlevel = 'loud'", "log.level"),
    ("[log]\nformat = 'xml'", "log.format"),
    ("[auth]\nmode = 'basic'", "auth.mode"),
    ("[auth]\nmode = 'jwt'\nkey_file = 'key.pem'", "auth.algorithms"),
    ("[auth]\nmode = 'jwt'\nalgorithms = ['RS256']", "auth.key_file"),
    (
        "[auth]\nmode = 'jwt'\nalgorithms = ['RS256']\nkey_file = 'a'\njwks_file = 'b'",
        "auth.jwks_file",
    ),
    (
        "[auth]\nmode = 'jwt'\nalgorithms = ['RS256', 'ES256']\nkey_file = 'key.pem'",
        "auth.algorithms",
    ),
    ("[auth]\nalgorithms = ['none']", "auth.algorithms[0]"),
    ("[auth]\nalgorithms = ['HS512']", "auth.algorithms[0]"),
    ("[auth]\nalgorithms = 'RS256'", "auth.algorithms"),
    ("[auth]\nadministrators = ['']", "auth.administrators[0]"),
    ("[auth]\nuser_claim = ''", "auth.user_claim"),
    ("[auth]\nleeway = -1", "auth.leeway"),
    ("[auth]\nleeway = 3601", "auth.leeway"),
    ("[auth]\nuser_header = 'X User'", "auth.user_header"),
    ("[auth]\nuser_header = 'X_User'", "auth.user_header"),
    ("[auth]\nmode = 'proxy'", "proxies"),
    ("[store]\nsynchronous = 'OFF'", "store.synchronous"),
    ("[store]\nreaders = 0", "store.readers"),
    ("[store]\nreaders = 65", "store.readers"),
    ("[store]\nbatch = 0", "store.batch"),
    ("[store]\npending_writes = 0", "store.pending_writes"),
    ("[limits]\nframe_bytes = 10", "limits.frame_bytes"),
    ("[limits]\nframe_bytes = 1e6", "limits.frame_bytes"),
    ("[limits]\nconnections = 0", "limits.connections"),
    ("[timeouts]\nlogin = 0", "timeouts.login"),
    ("[timeouts]\nlogin = -1.5", "timeouts.login"),
    ("[timeouts]\nlogin = nan", "timeouts.login"),
    ("[timeouts]\nshutdown = inf", "timeouts.shutdown"),
    ("[timeouts]\nshutdown = 86401", "timeouts.shutdown"),
    ("[timeouts]\nlogin = '10'", "timeouts.login"),
    ("[timeouts]\nping = 90", "timeouts.silence"),
    ("[limits]\ncontent_bytes = 2000000", "limits.content_bytes"),
    ("[limits]\nframe_bytes = 2000", "limits.content_bytes"),
    ("host = '0.0.0.0'", "host"),
    ("socket_mode = 660", "socket_mode"),
    ("socket_mode = '0680'", "socket_mode"),
    ("socket_mode = '7777'", "socket_mode"),
    ("hosts = 'chat.example'", "hosts"),
    ("hosts = ['chat.example:8080']", "hosts"),
    ("hosts = ['https://chat.example']", "hosts"),
    ("hosts = ['two words']", "hosts"),
    ("proxies = '127.0.0.1'", "proxies"),
    ("proxies = ['10.0.0.0/33']", "proxies"),
    ("proxies = ['10.0.0.1/8']", "proxies"),
    ("proxies = ['proxy.example']", "proxies"),
]


@pytest.mark.parametrize(("text", "key"), FILES)
def test_a_bad_setting_in_the_file_is_named(elsewhere: Path, text: str, key: str) -> None:
    write(elsewhere, text)
    with pytest.raises(ConfigError) as error:
        load_config(environment={})
    refused(str(error.value), key)


@pytest.mark.parametrize(
    ("name", "value", "key"),
    [
        ("IMSERVER_PORT", "http", "port"),
        ("IMSERVER_PORT", "70000", "port"),
        ("IMSERVER_PORT", "80.5", "port"),
        ("IMSERVER_TIMEOUTS_LOGIN", "soon", "timeouts.login"),
        ("IMSERVER_TIMEOUTS_LOGIN", "nan", "timeouts.login"),
        ("IMSERVER_TIMEOUTS_LOGIN", "-inf", "timeouts.login"),
        ("IMSERVER_ALLOW_OPEN_NETWORK", "perhaps", "allow_open_network"),
        ("IMSERVER_LOG_LEVEL", "LOUD", "log.level"),
        ("IMSERVER_PROT", "8080", "IMSERVER_PROT"),
        ("IMSERVER_LOG", "info", "IMSERVER_LOG"),
        ("IMSERVER_LOG.LEVEL", "info", "IMSERVER_LOG.LEVEL"),
        ("IMSERVER_HOST", "0.0.0.0", "host"),
    ],
)
def test_a_bad_variable_is_named(name: str, value: str, key: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(environment={name: value})
    refused(str(error.value), key)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "port = 1\n\n[log]\nlevel = 'loud'",
            'log.level must be "debug", "info", "warning" or "error", not "loud" '
            "(config.toml, line 4)",
        ),
        (
            "[timeouts]\nlogin = 0",
            "timeouts.login must be a number more than 0 and at most 86400, not 0 "
            "(config.toml, line 2)",
        ),
        ("metrics.enabled = 1", "metrics.enabled must be true or false, not 1 (config.toml)"),
        (
            "[log]\nlevle = 'info'",
            "log.levle: there is no such setting; did you mean log.level? (config.toml, line 2)",
        ),
        (
            "[limit]\nconnections = 5",
            "limit: there is no such setting; did you mean limits? (config.toml, line 1)",
        ),
        (
            "readers = 3",
            "readers: there is no such setting; did you mean store.readers? (config.toml, line 1)",
        ),
        (
            "[timeouts]\nping = 90",
            "timeouts.silence must be longer than timeouts.ping",
        ),
        (
            "port = 5\nhost = '0.0.0.0'",
            "host = '0.0.0.0' is not loopback, and in open mode anyone who reaches it may be "
            "anyone: set allow_open_network = true if that is what you want (config.toml, line 2)",
        ),
    ],
)
def test_what_is_wrong_where_and_what_may_be_is_said(
    elsewhere: Path, text: str, sentence: str
) -> None:
    write(elsewhere, text)
    with pytest.raises(ConfigError) as error:
        load_config(environment={})
    assert str(error.value) == sentence


def test_a_variable_and_a_flag_are_named_too() -> None:
    with pytest.raises(ConfigError, match=r"not \"http\" \(IMSERVER_PORT\)$"):
        load_config(environment={"IMSERVER_PORT": "http"})
    with pytest.raises(ConfigError, match=r"not \"loud\" \(--log-level\)$"):
        load_config(environment={}, flags={"log.level": "loud"})
    with pytest.raises(ConfigError, match=r"did you mean IMSERVER_LOG_LEVEL\?$"):
        load_config(environment={"IMSERVER_LOG_LEVLE": "info"})


def test_what_kubernetes_sets_for_a_service_is_no_setting() -> None:
    variables = {
        "IMSERVER_PORT": "tcp://10.0.0.1:8080",
        "IMSERVER_SERVICE_HOST": "10.0.0.1",
        "IMSERVER_SERVICE_PORT": "8080",
        "IMSERVER_SERVICE_PORT_HTTP": "8080",
        "IMSERVER_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "IMSERVER_PORT_8080_TCP_PROTO": "tcp",
        "IMSERVER_PORT_8080_TCP_PORT": "8080",
        "IMSERVER_PORT_8080_TCP_ADDR": "10.0.0.1",
        "IMSERVER_METRICS_PORT": "tcp://10.0.0.2:9090",
    }
    assert load_config(environment=variables | {"IMSERVER_DATA": "here"}).data == "here"
    assert ignored(variables) == sorted(variables)


def test_a_folder_that_is_not_utf_8_is_refused_in_a_sentence() -> None:
    with pytest.raises(ConfigError, match="data must be a name in UTF-8"):
        load_config(environment={}, flags={"data": "\udcff"})


def test_a_bad_file_is_not_saved_by_a_good_flag(elsewhere: Path) -> None:
    write(elsewhere, "port = '80'")
    with pytest.raises(
        ConfigError,
        match=r"^port must be a whole number from 0 to 65535, not \"80\" \(config.toml, line 1\)$",
    ):
        load_config(environment={}, flags={"port": 8080})


def test_a_section_that_is_a_value_is_no_place_for_a_variable(elsewhere: Path) -> None:
    write(elsewhere, "log = 'info'")
    with pytest.raises(ConfigError, match=r"\blog\b"):
        load_config(environment={"IMSERVER_LOG_LEVEL": "info"})


def test_a_named_file_must_exist(elsewhere: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.toml: there is no such file"):
        load_config(elsewhere / "nowhere.toml", environment={})


@pytest.mark.parametrize(
    "content", [b"port = ", b"port = 1\nport = 2", b"\xff\xfe", b"[log", b"a\0b"]
)
def test_a_file_that_is_no_toml_is_named(elsewhere: Path, content: bytes) -> None:
    (elsewhere / "config.toml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^config\.toml ") as error:
        load_config(environment={})
    assert "\n" not in str(error.value)


def test_a_file_that_is_a_folder_is_named(elsewhere: Path) -> None:
    (elsewhere / "config.toml").mkdir()
    with pytest.raises(ConfigError, match=r"^config\.toml cannot be read"):
        load_config(environment={})


def test_a_file_with_a_mark_of_its_byte_order_is_read(elsewhere: Path) -> None:
    # Some editors put one there; it looks like nothing.
    (elsewhere / "config.toml").write_bytes(b"\xef\xbb\xbfport = 1\n")
    assert load_config(environment={}).port == 1


# -- who may reach it ----------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.9.10", "::1"])
def test_loopback_needs_no_leave(host: str) -> None:
    assert is_loopback(host)
    Config(host=host).check()


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.0.7", "example.org", "127.0.0.1.example.org", "127.1", "*"]
)
def test_other_addresses_need_leave_while_callers_are_believed(host: str) -> None:
    with pytest.raises(ConfigError, match="allow_open_network = true"):
        Config(host=host).check()
    Config(host=host, allow_open_network=True).check()


@pytest.mark.parametrize(
    ("config", "key"),
    [
        (Config(port=-1), "port"),
        (Config(port="8080"), "port"),  # type: ignore[arg-type]
        (Config(timeouts=Timeouts(login=-1)), "timeouts.login"),
        (Config(timeouts=Timeouts(login=float("nan"))), "timeouts.login"),
        (Config(limits=Limits(frame_bytes=1)), "limits.frame_bytes"),
    ],
)
def test_settings_made_by_a_program_are_checked_too(config: Config, key: str) -> None:
    with pytest.raises(ConfigError) as error:
        config.check()
    refused(str(error.value), key)


def test_nobody_changes_settings_behind_the_servers_back() -> None:
    with pytest.raises(AttributeError):
        Config().port = 1  # type: ignore[misc]
    assert all(
        field.type.__struct_config__.frozen
        for field in msgspec.structs.fields(Config)
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct)
    )
