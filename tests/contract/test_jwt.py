"""Mode `jwt`: callers are whom their token names, over both transports."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import msgspec
import pytest
import trio
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed

from imserver import Config, ConfigError, open_server
from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.service.identity.jwt_identity import MAX_TOKEN, JwtIdentity
from imserver.service.identity.jwt_keys import Keys
from tests.contract.api import REST, acting, refusal_of
from tests.support import Refused, connect, http_client, login, rest, running_server
from tests.support.clients import PATIENCE
from tests.support.tokens import ALGORITHMS, Issuer, jwks_auth, segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server
    from imserver.config import Auth

ISSUER = Issuer()


async def refused(server: Server, transport: str, token: str) -> dict[str, Any]:
    """The refusal of a token: over REST of a call, else of a login."""
    if transport == REST:
        async with rest(server, None, token) as calls:
            answer = await calls.request("GET", "/api/v1/messages/offline")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert answer.status_code == 401
            return answer.json()
    async with connect(server) as socket:
        return await refusal_of(socket.call("login", {"token": token}))


@asynccontextmanager
async def jwt_server(folder: Path, **settings: Any) -> AsyncIterator[Server]:
    """A server that believes `ISSUER`."""
    extras = {name: settings.pop(name) for name in ("clock",) if name in settings}
    async with running_server(auth=ISSUER.auth(folder, **settings), **extras) as server:
        yield server


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_who_has_a_token_is_whom_it_names(
    algorithm: str, transport: str, tmp_path: Path
) -> None:
    issuer = Issuer(algorithm)
    async with (
        running_server(auth=issuer.auth(tmp_path)) as server,
        acting(server, transport, "alice", issuer.token("alice")) as alice,
        acting(server, transport, "张三", issuer.token("张三")) as other,
    ):
        message_id = await alice.send("张三")
        assert await other.synced() == [message_id]
        assert (await other.get_message(message_id))["sender_id"] == "alice"


async def test_a_login_needs_no_user_id_and_its_answer_says_it(tmp_path: Path) -> None:
    async with jwt_server(tmp_path) as server, connect(server) as socket:
        answer = await socket.call("login", {"token": ISSUER.token("alice")})
        assert answer == {"success": True, "message": "Login successful", "user_id": "alice"}
        await socket.call("send_message", {"receiver_id": "bob", "content": "hello"})


async def test_the_scheme_is_bearer_in_any_case(tmp_path: Path) -> None:
    token = ISSUER.token()
    async with jwt_server(tmp_path) as server, http_client(server) as http:
        for value, status in (
            (f"Bearer {token}", 200),
            (f"bearer {token}", 200),
            (f"BEARER  {token}", 200),
            (f"Basic {token}", 401),
            (f"Bearer{token}", 401),
            ("Bearer", 401),
            (token, 401),
        ):
            headers = {"Authorization": value}
            answer = await http.get("/api/v1/messages/offline", headers=headers)
            assert answer.status_code == status, value[:10]
        twice = [("Authorization", f"Bearer {token}")] * 2
        answer = await http.get("/api/v1/messages/offline", headers=twice)
        assert answer.status_code == 400


async def test_without_a_token_nobody_is_anybody(tmp_path: Path) -> None:
    async with (
        jwt_server(tmp_path) as server,
        rest(server, "alice") as calls,
        connect(server, {"X-User-ID": "alice"}) as socket,
    ):
        answer = await calls.request("GET", "/api/v1/messages/offline")
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        for data in ({}, {"user_id": "alice"}, {"user_id": "alice", "token": ""}):
            assert (await refusal_of(socket.call("login", data)))["code"] == "unauthorized"
        assert (await refusal_of(socket.call("heartbeat")))["code"] == "not_logged_in"
        for path in ("/health", "/ready", "/api/v1/stats", "/openapi.json"):  # anyone's
            assert (await calls.request("GET", path)).status_code == 200


async def test_no_token_is_taken_from_a_url(tmp_path: Path) -> None:
    token = ISSUER.token()
    async with jwt_server(tmp_path) as server, rest(server, None) as calls:
        for name in ("token", "access_token"):
            answer = await calls.request("GET", "/api/v1/messages/offline", params={name: token})
            assert answer.status_code == 401


# -- what is no token ----------------------------------------------------------------------------

NOW = time.time()
PUBLIC = ISSUER.public


def forged(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    return f"{segment(header)}.{segment(claims)}.{segment(signature)}"


def hmac_with_the_public_key() -> str:
    # PyJWT would not do it.
    body = f"{segment({'alg': 'HS256', 'typ': 'JWT'})}.{segment(GOOD)}"
    return f"{body}.{segment(hmac.digest(PUBLIC, body.encode(), hashlib.sha256))}"


def tampered() -> str:
    header, _, signature = ISSUER.token("alice").split(".")
    return f"{header}.{segment({'sub': 'root', 'exp': NOW + 9e3})}.{signature}"


GOOD = {"sub": "alice", "exp": NOW + 9e3}
BAD = {
    "expired": (lambda: ISSUER.token(exp=NOW - 60), "The token has expired"),
    "without an end": (lambda: ISSUER.token(exp=None), "The token has no exp"),
    "an end that is no time": (lambda: ISSUER.token(exp="soon"), "The token is not valid"),
    "an end that is true": (lambda: ISSUER.token(exp=True), "The token is not valid"),
    "an end that is a list": (lambda: ISSUER.token(exp=[NOW + 60]), "The token is not valid"),
    "an end that is no number": (lambda: ISSUER.token(exp=float("nan")), "The token is not valid"),
    "an end that is never": (lambda: ISSUER.token(exp=float("inf")), "The token is not valid"),
    "an end in milliseconds": (lambda: ISSUER.token(exp=NOW * 1000), "The token is not valid"),
    "an end of many digits": (lambda: ISSUER.token(exp=10**400), "The token is not valid"),
    "not yet valid": (lambda: ISSUER.token(nbf=NOW + 6000), "The token is not valid yet"),
    "not yet made": (lambda: ISSUER.token(iat=NOW + 6000), "The token is not valid yet"),
    "of nobody": (lambda: ISSUER.token(None), "The token names no user"),
    "of nobody with a name": (lambda: ISSUER.token(""), "The token's user cannot be one"),
    "of two words": (lambda: ISSUER.token("two words"), "The token's user cannot be one"),
    "of somebody too long": (lambda: ISSUER.token("x" * 65), "The token's user cannot be one"),
    "of half a character": (lambda: ISSUER.token("a\ud800"), "The token's user cannot be one"),
    "for somebody else": (
        lambda: ISSUER.token(aud="others"),
        "The token is for another audience (aud)",
    ),
    "of another key": (lambda: Issuer(name="another").token(), "The token is not valid"),
    "of another algorithm": (lambda: Issuer("RS256").token(), "The token is not valid"),
    "of a secret": (lambda: Issuer("HS256").token(), "The token is not valid"),
    "the public key as a secret": (hmac_with_the_public_key, "The token is not valid"),
    "tampered with": (tampered, "The token is not valid"),
    "unsigned": (lambda: jwt.encode(GOOD, None, "none"), "The token is not valid"),
    "unsigned, shouting": (lambda: forged({"alg": "NONE"}, GOOD), "The token is not valid"),
    "signed with nothing": (lambda: forged({"alg": "ES256"}, GOOD), "The token is not valid"),
    "signed with zeros": (
        lambda: forged({"alg": "ES256"}, GOOD, bytes(64)),
        "The token is not valid",
    ),
    "without an algorithm": (lambda: forged({}, GOOD), "The token is not valid"),
    "an algorithm that is a list": (
        lambda: forged({"alg": ["ES256"]}, GOOD, bytes(64)),
        "The token is not valid",
    ),
    "a key id that is a list": (
        lambda: forged({"alg": "ES256", "kid": ["a"]}, GOOD, bytes(64)),
        "The token is not valid",
    ),
    "critical things unknown": (
        lambda: ISSUER.token(headers={"crit": ["exp2"], "exp2": 1}),
        "The token is not valid",
    ),
    "a list of claims": (
        lambda: ISSUER.sign({"alg": "ES256"}, b"[1]"),
        "The token is not valid",
    ),
    "nested deeply": (
        lambda: ISSUER.sign({"alg": "ES256"}, b"[" * 4000),
        "The token is not valid",
    ),
    "too long": (lambda: ISSUER.token(more="x" * MAX_TOKEN), "The token is not valid"),
    "no token": (lambda: "auth_token", "The token is not valid"),
    "dots": (lambda: "...", "The token is not valid"),
    "words": (lambda: "a.b.c", "The token is not valid"),
    "five parts": (lambda: ISSUER.token() + ".a.b", "The token is not valid"),
    "encrypted": (
        lambda: forged({"alg": "dir", "enc": "A256GCM"}, GOOD) + ".a.b",
        "The token is not valid",
    ),
}


@pytest.mark.parametrize("fault", BAD)
async def test_a_bad_token_is_refused(fault: str, transport: str, tmp_path: Path) -> None:
    make, sentence = BAD[fault]
    token = make()
    async with jwt_server(tmp_path) as server:
        answer = await refused(server, transport, token)
    assert answer["code"] == "unauthorized"
    assert answer["error"].startswith(sentence)
    assert token not in answer["error"]


async def test_a_token_of_the_server_itself_is_refused(transport: str, tmp_path: Path) -> None:
    async with jwt_server(tmp_path) as server:
        with pytest.raises(Refused) as refusal:
            async with acting(server, transport, "system", ISSUER.token("system")) as system:
                await system.sync_offline()
    assert refusal.value.code == "forbidden"


@pytest.mark.parametrize(
    ("settings", "claims", "sentence"),
    [
        ({"audience": "im"}, {"aud": "im"}, None),
        ({"audience": "im"}, {"aud": ["others", "im"]}, None),
        ({"audience": "im"}, {}, "The token has no aud"),
        ({"audience": "im"}, {"aud": "others"}, "The token is for another audience (aud)"),
        ({"audience": "im"}, {"aud": "IM"}, "The token is for another audience (aud)"),
        ({"audience": "im"}, {"aud": []}, "The token has no aud"),
        ({"issuer": "app"}, {"iss": "app"}, None),
        ({"issuer": "app"}, {}, "The token has no iss"),
        ({"issuer": "app"}, {"iss": "other"}, "The token is from another issuer (iss)"),
        ({"issuer": "app"}, {"iss": ["app"]}, "The token is from another issuer (iss)"),
        ({}, {"iss": "anybody"}, None),
        ({"leeway": 3600.0}, {"exp": NOW - 30}, None),
        ({"leeway": 3600.0}, {"nbf": NOW + 3000, "iat": NOW + 3000}, None),
        ({"leeway": 0.0}, {"exp": NOW - 1}, "The token has expired"),
        ({"user_claim": "email"}, {"email": "alice@example.org"}, None),
        ({"user_claim": "email"}, {}, "The token names no user"),
    ],
)
async def test_what_a_token_must_say_is_set(
    settings: dict[str, Any],
    claims: dict[str, Any],
    sentence: str | None,
    transport: str,
    tmp_path: Path,
) -> None:
    token = ISSUER.token("alice", **claims)
    async with jwt_server(tmp_path, **settings) as server:
        if sentence is not None:
            assert (await refused(server, transport, token))["error"] == sentence
            return
        user_id = claims.get("email", "alice")
        async with acting(server, transport, user_id, token) as user:
            assert await user.synced() == []


@given(st.one_of(st.text(), st.binary().map(lambda data: data.decode("latin-1"))))
def test_whatever_is_given_for_a_token_is_refused_in_order(text: str) -> None:
    with pytest.raises(ApiError) as refusal:
        _identity().of_token(text)
    assert refusal.value.code is Code.UNAUTHORIZED


_NUMBERS = st.one_of(st.integers(), st.floats())
_JSON = st.recursive(
    st.none() | st.booleans() | _NUMBERS | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_CLAIMS = st.dictionaries(st.sampled_from(["sub", "exp", "nbf", "iat", "aud", "iss", "jti"]), _JSON)
_HEADERS = st.dictionaries(
    st.sampled_from(["kid", "typ", "crit", "b64", "alg", "jwk", "x5u"]), _JSON
)


@given(_CLAIMS, _HEADERS)
def test_whatever_is_signed_is_somebody_or_refused_in_order(
    claims: dict[str, Any], header: dict[str, Any]
) -> None:
    try:
        grant = _identity().of_token(ISSUER.sign(header | {"alg": "ES256"}, claims))
    except ApiError as error:
        assert error.code in (Code.UNAUTHORIZED, Code.FORBIDDEN)  # noqa: PT017
    else:
        assert grant.user_id == claims["sub"]
        assert grant.expires is not None


def _identity(made: list[JwtIdentity] = []) -> JwtIdentity:  # noqa: B006 - one for all examples
    if not made:
        with tempfile.TemporaryDirectory() as folder:
            auth = ISSUER.auth(Path(folder))
            keys = Keys(Path(auth.key_file), auth.algorithms, key_set=False)
        keys.find = lambda kid: keys._keys[None]  # type: ignore[method-assign]
        made.append(JwtIdentity(keys, lambda: int(NOW * 1000)))
    return made[0]


# -- who one says one is -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (None, 200), ("", 200), ("alice", 200), ("bob", 403), ("Alice", 403), ("system", 403),
        ("two words", 403), ("x" * 65, 403),
    ],
)  # fmt: skip
async def test_a_header_that_disagrees_is_refused_over_rest(
    header: str | None, status: int, tmp_path: Path
) -> None:
    async with jwt_server(tmp_path) as server, rest(server, header, ISSUER.token()) as calls:
        for method, path in (("GET", "/api/v1/messages/offline"), ("GET", "/api/v1/groups")):
            assert (await calls.request(method, path)).status_code == status


async def test_two_headers_are_refused_and_odd_spellings_count_for_nothing(tmp_path: Path) -> None:
    token = {"Authorization": f"Bearer {ISSUER.token()}"}
    async with jwt_server(tmp_path) as server, http_client(server) as http:
        for headers, status in (
            ([("X-User-ID", "alice"), ("x-user-id", "alice")], 200),
            ([("X-User-ID", "alice"), ("x-user-id", "bob")], 403),
            ([("x-USER-id", "bob")], 403),
            ([("X_User_ID", "bob")], 200),
            ([("XUserID", "bob")], 200),
        ):
            answer = await http.get("/api/v1/messages/offline", headers=[*headers, *token.items()])
            assert answer.status_code == status, headers


@pytest.mark.parametrize(
    ("handshake", "user_id", "code"),
    [
        (None, None, None),
        (None, "alice", None),
        (None, "", None),
        (None, "bob", "forbidden"),
        ("alice", "alice", None),
        ("alice", None, None),
        ("bob", None, "forbidden"),
        ("bob", "alice", "forbidden"),
        ("alice", "bob", "forbidden"),
        ("bob", "bob", "forbidden"),
    ],
)
async def test_a_name_that_disagrees_is_refused_at_login(
    handshake: str | None, user_id: str | None, code: str | None, tmp_path: Path
) -> None:
    headers = {} if handshake is None else {"X-User-ID": handshake}
    async with jwt_server(tmp_path) as server, connect(server, headers) as socket:
        data = {"user_id": user_id, "token": ISSUER.token("alice")}
        if code is None:
            assert (await socket.call("login", data))["user_id"] == "alice"
        else:
            assert (await refusal_of(socket.call("login", data)))["code"] == code
            assert (await refusal_of(socket.call("heartbeat")))["code"] == "not_logged_in"


async def test_a_heartbeat_that_disagrees_is_refused(tmp_path: Path) -> None:
    async with jwt_server(tmp_path) as server, login(server, "alice", ISSUER.token()) as socket:
        for user_id in ("alice", "", None):
            assert "timestamp" in await socket.call("heartbeat", {"user_id": user_id})
        answer = await refusal_of(socket.call("heartbeat", {"user_id": "bob"}))
        assert answer["code"] == "forbidden"


async def test_a_second_login_is_the_same_users_or_refused(tmp_path: Path) -> None:
    async with jwt_server(tmp_path) as server, login(server, "alice", ISSUER.token()) as socket:
        await socket.call("login", {"token": ISSUER.token("alice", jti="another")})
        for token in (ISSUER.token("bob"), "", "auth_token"):
            with pytest.raises(Refused):
                await socket.call("login", {"token": token})
        await socket.call("heartbeat", {"user_id": "alice"})


# -- until when ----------------------------------------------------------------------------------


class Clock:
    """The server's time, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now = round(time.time())  # seconds

    def __call__(self) -> int:
        return round(self.now * 1000)


async def test_a_session_ends_with_its_token_unless_it_is_renewed(tmp_path: Path) -> None:
    clock = Clock()
    token = ISSUER.token("alice", exp=clock.now + 60)
    async with (
        jwt_server(tmp_path, clock=clock, leeway=5.0) as server,
        login(server, "alice", token) as kept,
        login(server, "alice", token) as renewed,
        login(server, "bob", ISSUER.token("bob", exp=clock.now + 600)) as bob,
    ):
        clock.now += 64
        await renewed.call("login", {"token": ISSUER.token("alice", exp=clock.now + 60)})
        await kept.call("heartbeat")
        clock.now += 1
        with pytest.raises(ConnectionClosed) as closed:
            await kept.receive()
        assert closed.value.reason.code == CloseCode.SIGNED_OUT == 4003
        assert closed.value.reason.reason == "signed out: token expired or revoked"
        await renewed.call("heartbeat")
        await bob.call("heartbeat")
        assert (await refused(server, REST, token))["error"] == "The token has expired"


async def test_times_are_the_servers(transport: str, tmp_path: Path) -> None:
    clock = Clock()
    clock.now += 1_000_000
    async with jwt_server(tmp_path, clock=clock) as server:
        assert (await refused(server, transport, ISSUER.token()))["error"] == (
            "The token has expired"
        )
        token = ISSUER.token(exp=clock.now + 60, nbf=clock.now, iat=clock.now)
        async with acting(server, transport, "alice", token) as alice:
            assert await alice.synced() == []


# -- the keys ------------------------------------------------------------------------------------


async def test_each_key_of_a_set_is_for_its_own_tokens(transport: str, tmp_path: Path) -> None:
    issuers = [Issuer(algorithm, f"{algorithm}'s") for algorithm in ALGORITHMS]
    async with running_server(auth=jwks_auth(tmp_path, *issuers)) as server:
        for issuer in issuers:
            async with acting(server, transport, "alice", issuer.token()) as alice:
                assert await alice.synced() == []
        for kid in ("unknown", "", None, "RS256's"):
            header = {"alg": issuers[2].algorithm, "kid": kid}
            token = issuers[2].sign(header, GOOD)
            answer = await refused(server, transport, token)
            assert answer["error"].startswith("The token is ")


def unusable() -> list[dict[str, Any]]:
    """Keys that an identity provider may have in its set beside those that are used here."""
    weak = Issuer("RS256", "weak")
    weak.key = rsa.generate_private_key(65537, 1024)
    curve = Issuer("ES256", "curve")
    curve.key = ec.generate_private_key(ec.SECP384R1())
    private = jwt.get_algorithm_by_name("ES256").to_jwk(Issuer("ES256").key, as_dict=True)
    nameless = {name: value for name, value in Issuer("ES256").jwk.items() if name != "kid"}
    twice = Issuer("ES256", "twice").jwk
    return [
        weak.jwk,
        curve.jwk,
        nameless,
        private | {"kid": "private"},
        Issuer("ES256", "broken").jwk | {"x": "AAAA"},
        twice,
        twice,
        {"kty": "EC", "kid": "empty"},
        {"kty": "OKP", "crv": "Ed448", "kid": "ed448", "x": "AAAA"},
    ]


async def test_a_key_that_cannot_be_used_spoils_no_other(
    transport: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the start and when the set is changed; each such key is named in a warning."""
    old, new = Issuer(name="old"), Issuer(name="new")
    auth = msgspec.structs.replace(jwks_auth(tmp_path, old), algorithms=("ES256", "RS256", "EdDSA"))
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [*unusable(), old.jwk]}))
    async with running_server(auth=auth) as server:
        async with acting(server, transport, "alice", old.token()) as alice:
            assert await alice.synced() == []
        said = [record.getMessage() for record in caplog.records if "not used" in record.message]
        assert len(said) == len(unusable()) - 1  # of the two of one name, once
        replace(file, json.dumps({"keys": [new.jwk, *unusable()]}))
        async with acting(server, transport, "alice", new.token()) as same:
            assert await same.synced() == []
        for gone in (old, Issuer("ES256", "twice")):
            assert "unknown key" in (await refused(server, transport, gone.token()))["error"]


def replace(file: Path, content: str | bytes) -> None:
    """Change a file as careful programs do."""
    new = file.with_suffix(".new")
    new.write_bytes(content if isinstance(content, bytes) else content.encode())
    os.replace(new, file)


async def test_keys_are_read_again_when_their_file_changes(transport: str, tmp_path: Path) -> None:
    old, new = Issuer(name="old"), Issuer(name="new")
    auth = jwks_auth(tmp_path, old)
    file = tmp_path / "jwks.json"
    async with running_server(auth=auth) as server:
        assert "unknown key" in (await refused(server, transport, new.token()))["error"]
        async with acting(server, transport, "alice", old.token()) as alice:
            replace(file, json.dumps({"keys": [old.jwk, new.jwk]}))
            async with acting(server, transport, "alice", new.token()) as same:
                assert await same.synced() == []
            replace(file, json.dumps({"keys": [new.jwk]}))
            assert "unknown key" in (await refused(server, transport, old.token()))["error"]
            if transport != REST:
                await alice.sync_offline()  # what was begun goes on until its token expires


async def test_keys_are_read_again_when_it_is_asked_for(transport: str, tmp_path: Path) -> None:
    """Even where the file looks as it did."""
    old, new = Issuer("HS256", "old"), Issuer("HS256", "new")
    auth = old.auth(tmp_path)
    file = tmp_path / "key"
    async with running_server(auth=auth) as server:
        before = file.stat()
        file.write_bytes(new.public)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (await refused(server, transport, new.token()))["error"] == "The token is not valid"
        server.reload()
        async with acting(server, transport, "alice", new.token()) as alice:
            assert await alice.synced() == []


@pytest.mark.expects_error_log
async def test_keys_that_cannot_be_read_again_stay(transport: str, tmp_path: Path) -> None:
    async with jwt_server(tmp_path) as server:
        for content in (b"", b"nonsense", Issuer("RS256").public, ISSUER.private):
            replace(tmp_path / "key", content)
            async with acting(server, transport, "alice", ISSUER.token()) as alice:
                assert await alice.synced() == []
        (tmp_path / "key").unlink()
        async with acting(server, transport, "alice", ISSUER.token()) as alice:
            assert await alice.synced() == []
        other = Issuer(name="other")
        replace(tmp_path / "key", other.public)
        async with acting(server, transport, "alice", other.token()) as alice:
            assert await alice.synced() == []


async def start(auth: Auth) -> str:
    """The sentence with which a server does not start."""
    config = Config(port=0, database=":memory:", auth=auth)
    with trio.fail_after(PATIENCE), pytest.raises(ConfigError) as failure:
        async with open_server(config):
            pytest.fail("it started")
    return str(failure.value)


def weak_key() -> bytes:
    issuer = Issuer("RS256", "weak")
    issuer.key = rsa.generate_private_key(65537, 1024)
    return issuer.public


def other_curve() -> bytes:
    issuer = Issuer("ES256", "curve")
    issuer.key = ec.generate_private_key(ec.SECP384R1())
    return issuer.public


@pytest.mark.parametrize(
    ("algorithm", "content", "sentence"),
    [
        ("HS256", lambda: b"x" * 31, "32 bytes at least"),
        ("HS256", lambda: b"x" * 31 + b"\n", "32 bytes at least"),
        ("HS256", lambda: b"", "32 bytes at least"),
        ("HS256", lambda: Issuer("RS256").public, "this is none"),
        ("RS256", lambda: Issuer("ES256").public, "no RSA key"),
        ("RS256", lambda: Issuer("RS256").private, "private key"),
        ("RS256", lambda: b"a secret that is long enough for HS256", "no public key in PEM"),
        ("RS256", weak_key, "2048 bits at least"),
        ("ES256", lambda: Issuer("EdDSA").public, "no key on the curve P-256"),
        ("ES256", other_curve, "no key on the curve P-256"),
        ("EdDSA", lambda: Issuer("ES256").public, "no Ed25519 key"),
        ("ES256", lambda: b"x" * (2 << 20), "too long"),
    ],
)
async def test_a_key_that_cannot_be_stops_the_start(
    algorithm: str, content: Any, sentence: str, tmp_path: Path
) -> None:
    auth = Issuer(algorithm).auth(tmp_path)
    (tmp_path / "key").write_bytes(content())
    said = await start(auth)
    assert said.startswith(f"auth.key_file: {tmp_path / 'key'}: ")
    assert sentence in said


async def test_a_key_file_that_is_not_there_stops_the_start(tmp_path: Path) -> None:
    auth = ISSUER.auth(tmp_path)
    (tmp_path / "key").unlink()
    assert "it cannot be read: No such file or directory" in await start(auth)


async def test_the_end_of_a_secrets_line_is_no_part_of_it(transport: str, tmp_path: Path) -> None:
    issuer = Issuer("HS256")
    auth = issuer.auth(tmp_path)
    for end in (b"\n", b"\r\n"):
        (tmp_path / "key").write_bytes(issuer.public + end)
        async with (
            running_server(auth=auth) as server,
            acting(server, transport, "alice", issuer.token()) as alice,
        ):
            assert await alice.synced() == []


def private_jwk() -> dict[str, Any]:
    algorithm = jwt.get_algorithm_by_name("ES256")
    return algorithm.to_jwk(ISSUER.key, as_dict=True) | {"kid": "k"}


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        (lambda: [], "no key in it for ES256"),
        (lambda: [Issuer("RS256").jwk], "no key in it for ES256"),
        (lambda: [ISSUER.jwk | {"use": "enc"}], "no key in it for ES256"),
        (lambda: [ISSUER.jwk | {"alg": "ES384"}], "no key in it for ES256"),
        (lambda: [ISSUER.jwk | {"kid": ""}], "no kid"),
        (lambda: [ISSUER.jwk, ISSUER.jwk], "two keys"),
        (lambda: [private_jwk()], "private key"),
        (lambda: [ISSUER.jwk | {"x": "AAAA"}], "cannot be read"),
        (lambda: [ISSUER.jwk | {"x": 7}], "cannot be read"),
        (lambda: "keys", "no JWK set"),
        (lambda: [7], "no JWK set"),
    ],
)
async def test_a_key_set_that_cannot_be_stops_the_start(
    keys: Any, sentence: str, tmp_path: Path
) -> None:
    auth = jwks_auth(tmp_path, ISSUER)
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": keys()}))
    said = await start(auth)
    assert said.startswith(f"auth.jwks_file: {tmp_path / 'jwks.json'}: ")
    assert sentence in said


async def test_the_description_says_how_to_call(tmp_path: Path) -> None:
    async with jwt_server(tmp_path) as server, rest(server, None) as calls:
        described = await calls.get("/openapi.json")
    scheme = described["components"]["securitySchemes"]["user"]
    assert scheme == {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_an_open_network_is_no_reason_not_to_start(host: str, tmp_path: Path) -> None:
    config = Config(host=host, auth=ISSUER.auth(tmp_path))
    config.check()
    assert config.limits_admission
    assert Config(auth=ISSUER.auth(tmp_path)).limits_admission
