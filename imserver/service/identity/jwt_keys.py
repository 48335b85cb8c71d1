"""The keys that signed tokens are checked with, from a file, and read again when that changes.

Law: the algorithm goes with the key, never with the token that names it. So a public key is never
taken for a secret, and each key checks the one algorithm that it is for.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt import PyJWK, PyJWTError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

logger = logging.getLogger(__name__)

LEAST_SECRET: Final = 32  # bytes of an HS256 secret (RFC 7518 section 3.2)
_LEAST_RSA: Final = 2048  # bits (RFC 7518 section 3.3)
_MOST_FILE: Final = 1 << 20  # bytes
_PEM: Final = b"-----BEGIN"
_KINDS: Final = {"RS256": "RSA", "ES256": "EC", "EdDSA": "OKP", "HS256": "oct"}


class KeysError(Exception):
    """A file of keys that cannot be used; the text says why, and holds nothing of a key."""


class Key(NamedTuple):
    """A key and the one algorithm that it is for."""

    algorithm: str
    material: Any  # bytes for HS256, else a public key of `cryptography`


class _KeySet(msgspec.Struct, frozen=True):
    keys: list[dict[str, Any]]


class Keys:
    """Owner of the keys of one file: one key (a PEM public key or a secret), or a JWK set."""

    def __init__(self, path: Path, algorithms: Collection[str], *, key_set: bool) -> None:
        """Read the file.

        Raises:
            KeysError: it cannot be read, or has no key for any of `algorithms`.
        """
        self._path = path
        self._algorithms = algorithms
        self._key_set = key_set
        self._look = self._look_at_file()
        self._keys = self._read()

    def find(self, kid: str | None) -> Key | None:
        """The key of an id, or without a key set the only one; None if it is not known."""
        if (look := self._look_at_file()) != self._look:
            self._look = look
            self.reload()
        return self._keys.get(kid if self._key_set else None)

    def reload(self) -> None:
        """Read the file again; where that fails, the keys stay as they are, and the log says so."""
        try:
            self._keys = self._read()
        except KeysError as error:
            logger.error("the keys in use stay: %s: %s", self._path, error)
        else:
            logger.info("%s was read again, keys: %d", self._path, len(self._keys))

    def _look_at_file(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self._path)
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _read(self) -> dict[str | None, Key]:
        try:
            with self._path.open("rb") as file:
                content = file.read(_MOST_FILE + 1)
        except OSError as error:
            raise KeysError(f"it cannot be read: {error.strerror}") from None
        if len(content) > _MOST_FILE:
            raise KeysError("it is too long for keys")
        return self._key_set_of(content) if self._key_set else {None: self._only_key(content)}

    def _only_key(self, content: bytes) -> Key:
        if len(self._algorithms) != 1:
            raise KeysError("one key is for one algorithm, and several are allowed")
        (algorithm,) = self._algorithms
        if algorithm == "HS256":
            return Key(algorithm, _secret(content.removesuffix(b"\n").removesuffix(b"\r")))
        if b"PRIVATE KEY" in content:
            raise KeysError("it holds a private key: the server needs the public one only")
        try:
            material = load_pem_public_key(content)
        except (ValueError, UnsupportedAlgorithm):
            raise KeysError("it is no public key in PEM") from None
        return _checked(Key(algorithm, material))

    def _key_set_of(self, content: bytes) -> dict[str | None, Key]:
        try:
            found = msgspec.json.decode(content, type=_KeySet).keys
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise KeysError("it is no JWK set: an object with a list of keys") from None
        keys: dict[str | None, Key] = {}
        faults: list[str] = []
        twice: set[str] = set()
        for described in found:
            algorithm = self._algorithm_of(described)
            if algorithm is None or described.get("use", "sig") != "sig":
                continue  # a set may serve others too
            try:
                kid, key = self._described(described, algorithm)
            except KeysError as error:
                faults.append(str(error))
                continue
            if kid in keys or kid in twice:
                twice.add(kid)
            else:
                keys[kid] = key
        for kid in twice:  # nobody can tell which one a token means
            del keys[kid]
            faults.append(f"there are two keys {kid!r} in it")
        if not keys:
            raise KeysError(
                "; ".join(faults) or f"there is no key in it for {', '.join(self._algorithms)}"
            )
        for fault in faults:
            logger.warning("a key in %s is not used: %s", self._path, fault)
        return keys

    def _described(self, described: dict[str, Any], algorithm: str) -> tuple[str, Key]:
        """A key of a set, and its id.

        Raises:
            KeysError: it cannot be used; the others of the set can.
        """
        kid = described.get("kid")
        if not isinstance(kid, str) or not kid:
            raise KeysError("a key in it has no kid")
        if algorithm != "HS256" and "d" in described:
            raise KeysError(f"{kid!r} is a private key: the server needs the public one only")
        try:
            return kid, _checked(Key(algorithm, PyJWK(described, algorithm).key))
        except (PyJWTError, ValueError, TypeError, UnsupportedAlgorithm):
            raise KeysError(f"the key {kid!r} cannot be read") from None
        except KeysError as error:
            raise KeysError(f"{kid!r}: {error}") from None

    def _algorithm_of(self, described: dict[str, Any]) -> str | None:
        for algorithm in self._algorithms:
            if (
                described.get("kty") == _KINDS[algorithm]
                and described.get("alg", algorithm) == algorithm
            ):
                return algorithm
        return None


def _checked(key: Key) -> Key:
    material = key.material
    match key.algorithm:
        case "HS256":
            _secret(material)
        case "RS256":
            if not isinstance(material, RSAPublicKey):
                raise KeysError("it is no RSA key, which RS256 is for")
            if material.key_size < _LEAST_RSA:
                raise KeysError(f"an RSA key must have {_LEAST_RSA} bits at least")
        case "ES256":
            if not isinstance(material, EllipticCurvePublicKey) or not isinstance(
                material.curve, SECP256R1
            ):
                raise KeysError("it is no key on the curve P-256, which ES256 is for")
        case _:
            if not isinstance(material, Ed25519PublicKey):
                raise KeysError("it is no Ed25519 key, which EdDSA is for here")
    return key


def _secret(secret: bytes) -> bytes:
    if _PEM in secret:
        raise KeysError("it holds a key in PEM: HS256 takes a secret, and this is none")
    if len(secret) < LEAST_SECRET:
        raise KeysError(f"a secret for HS256 must have {LEAST_SECRET} bytes at least")
    return secret
