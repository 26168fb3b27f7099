"""Signatures that count, and those that do not."""

import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from proxy.core.claims import TokenRefused
from proxy.login.key_sets import KeySet, KeySetInvalid, unproven
from proxy.login.token_keys import TokenKeyInvalid, TokenKeys
from tests.cast.issuer import Issuer, assembled


def key_set(issuer: Issuer) -> KeySet:
    return KeySet.parse(json.dumps(issuer.key_set()).encode())


def proven(keys: KeySet, token: str) -> dict[str, Any]:
    return keys.claims(token, unproven(token)[0])[0]


@pytest.mark.parametrize("kind", ["RS256", "ES256", "EdDSA"])
def test_a_token_that_its_issuer_signed_is_proven(kind: str) -> None:
    issuer = Issuer(kind)
    assert proven(key_set(issuer), issuer.token())["sub"] == "builder"
    assert proven(key_set(issuer), issuer.token({"kid": None}))["sub"] == "builder"


def test_a_token_that_nobody_signed_is_refused() -> None:
    issuer = Issuer()
    for algorithm in ("none", "None", "NONE", "", None, ["RS256"]):
        with pytest.raises(TokenRefused):
            proven(key_set(issuer), assembled({"alg": algorithm, "kid": "one"}, issuer.claims()))


def test_a_public_key_is_no_shared_secret() -> None:
    issuer = Issuer()
    head, body, _ = assembled({"alg": "HS256", "kid": "one", "typ": "JWT"}, issuer.claims()).split(".")
    for secret in (issuer.pem(), issuer.pem().strip(), json.dumps(issuer.key_set()["keys"][0]).encode()):
        signature = hmac.new(secret, f"{head}.{body}".encode(), hashlib.sha256).digest()
        token = assembled({"alg": "HS256", "kid": "one", "typ": "JWT"}, issuer.claims(), signature)
        with pytest.raises(TokenRefused, match="signature"):
            proven(key_set(issuer), token)


def test_a_shared_secret_in_a_key_set_is_no_key() -> None:
    secret = {"kty": "oct", "k": "c2VjcmV0" * 8, "kid": "one", "alg": "HS256"}
    with pytest.raises(KeySetInvalid):
        KeySet.parse(json.dumps({"keys": [secret]}).encode())


def test_a_key_that_a_token_brings_along_is_not_looked_at() -> None:
    issuer, forger = Issuer(), Issuer()
    brought = {"jwk": forger.key_set()["keys"][0], "jku": "http://127.0.0.1:9/", "x5u": "http://127.0.0.1:9/"}
    with pytest.raises(TokenRefused, match="signature"):
        proven(key_set(issuer), forger.token(brought))


def test_another_issuers_key_under_the_same_name_is_another_key() -> None:
    with pytest.raises(TokenRefused, match="signature"):
        proven(key_set(Issuer()), Issuer().token())


def test_a_key_that_is_not_known_is_none() -> None:
    issuer = Issuer()
    for name in ("two", "", "../one", 1):
        with pytest.raises(TokenRefused):
            proven(key_set(issuer), assembled({"alg": "RS256", "kid": name}, issuer.claims(), b"x" * 256))


def test_what_is_demanded_and_not_understood_is_refused() -> None:
    issuer = Issuer()
    with pytest.raises(TokenRefused):
        proven(key_set(issuer), issuer.token({"crit": ["exp"]}))


def test_a_token_that_was_changed_is_refused() -> None:
    issuer = Issuer()
    head, _, signature = issuer.token().split(".")
    other = issuer.token(sub="root").split(".")[1]
    with pytest.raises(TokenRefused, match="signature"):
        proven(key_set(issuer), f"{head}.{other}.{signature}")


@pytest.mark.parametrize(
    "token", ["", "x", "a.b", "a.b.c", "eyJ.eyJ.x", "." * 5, "\xff.\xff.\xff", "eyJhbGciOiJSUzI1NiJ9.W10.x"]
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(TokenRefused):
        unproven(token)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": [{}]}', b'{"keys": 7}', b"\xff"])
def test_what_is_no_key_set_is_refused(content: bytes) -> None:
    with pytest.raises(KeySetInvalid):
        KeySet.parse(content)


def test_a_weak_key_is_passed_over() -> None:
    weak = Issuer()
    weak.private = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    with pytest.raises(KeySetInvalid):
        key_set(weak)


def test_our_own_tokens_are_signed_by_the_first_key_and_proven_by_each() -> None:
    old, new = pem(), pem()
    before, between, after = TokenKeys.parse(old), TokenKeys.parse(new + old), TokenKeys.parse(new)
    assert between.claims(before.sign({"sub": "a"})) == {"sub": "a"}
    assert after.claims(between.sign({"sub": "b"})) == {"sub": "b"}
    with pytest.raises(TokenRefused):
        after.claims(before.sign({"sub": "a"}))


def test_a_secret_signs_too() -> None:
    keys = TokenKeys.parse(b"s" * 32 + b"\n")
    assert keys.claims(keys.sign({"sub": "a"})) == {"sub": "a"}
    with pytest.raises(TokenRefused):
        TokenKeys.random().claims(keys.sign({"sub": "a"}))
    with pytest.raises(TokenRefused):
        keys.claims(assembled({"alg": "none"}, {"sub": "a"}))
    with pytest.raises(TokenRefused):
        TokenKeys.parse(pem()).claims(jwt.encode({"sub": "a"}, "s" * 32, "HS256"))


@pytest.mark.parametrize("content", [b"", b"short", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"])
def test_what_signs_nothing_is_refused(content: bytes) -> None:
    with pytest.raises(TokenKeyInvalid):
        TokenKeys.parse(content)
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    with pytest.raises(TokenKeyInvalid):
        TokenKeys.parse(rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def pem() -> bytes:
    key = ed25519.Ed25519PrivateKey.generate()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
