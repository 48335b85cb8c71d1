"""Who signs tokens: an application that stands beside the server, with a key of its own."""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from typing import TYPE_CHECKING, Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from imserver.config import Auth

if TYPE_CHECKING:
    from pathlib import Path

ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


@cache
def private_key(algorithm: str, name: str) -> Any:
    """A key for an algorithm, the same for the same name."""
    match algorithm:
        case "HS256":
            return f"the secret of {name}, which nobody guesses".encode()
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case _:
            return ed25519.Ed25519PrivateKey.generate()


class Issuer:
    """Signs tokens with one key."""

    def __init__(self, algorithm: str = "ES256", name: str = "an issuer") -> None:
        self.algorithm = algorithm
        self.name = name  # also the key's id
        self.key = private_key(algorithm, name)

    @property
    def public(self) -> bytes:
        """The key file of a server that checks what is signed here."""
        if self.algorithm == "HS256":
            return self.key
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def private(self) -> bytes:
        """What a server must not be given."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def jwk(self) -> dict[str, Any]:
        """The key as one of a JWK set."""
        algorithm = jwt.get_algorithm_by_name(self.algorithm)
        key = self.key if self.algorithm == "HS256" else self.key.public_key()
        return algorithm.to_jwk(key, as_dict=True) | {"kid": self.name, "alg": self.algorithm}

    def token(
        self, user_id: Any = "alice", *, headers: dict[str, Any] | None = None, **claims: Any
    ) -> str:
        """A token for a user that holds for an hour; a claim that is None is left out."""
        body = {"sub": user_id, "exp": time.time() + 3600} | claims
        body = {name: claim for name, claim in body.items() if claim is not None}
        header = {"alg": self.algorithm, "typ": "JWT", "kid": self.name} | (headers or {})
        return self.sign(header, body)

    def sign(self, header: dict[str, Any], body: dict[str, Any] | bytes) -> str:
        """A token that says just this, whatever that is."""
        signed = f"{segment(header)}.{segment(body)}"
        signature = jwt.get_algorithm_by_name(self.algorithm).sign(signed.encode(), self.key)
        return f"{signed}.{segment(signature)}"

    def auth(self, folder: Path, **settings: Any) -> Auth:
        """The settings of a server that believes this issuer; its key file lies in `folder`."""
        file = folder / "key"
        file.write_bytes(self.public)
        return Auth("jwt", algorithms=(self.algorithm,), key_file=str(file), **settings)


def jwks_auth(folder: Path, *issuers: Issuer, **settings: Any) -> Auth:
    """The settings of a server that believes these issuers, by a JWK set."""
    file = folder / "jwks.json"
    file.write_text(json.dumps({"keys": [issuer.jwk for issuer in issuers]}))
    algorithms = tuple({issuer.algorithm: None for issuer in issuers})
    return Auth("jwt", algorithms=algorithms, jwks_file=str(file), **settings)


def segment(content: bytes | dict[str, Any]) -> str:
    """One part of a token that nobody has to have signed."""
    data = json.dumps(content).encode() if isinstance(content, dict) else content
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
