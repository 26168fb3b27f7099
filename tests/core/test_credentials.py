"""A sentence that repeats a credential is found, whatever was cut off it."""

import base64

import pytest

from proxy.core.credentials import Credentials, basic, quotes

PROOF = basic(Credentials("robot", "open sesame & close"))
ENCODED = PROOF.removeprefix("Basic ")


@pytest.mark.parametrize(
    "said",
    [
        PROOF,
        ENCODED,
        ENCODED[:-3],
        ENCODED[5:],
        ENCODED[8:20],
        ENCODED.lower(),
        "open sesame & close",
        "your password 'open sesame' is wrong",
        "open%20sesame%20%26%20close",
        "sesame &amp; clo",
        b"open sesame & close".hex(),
        base64.b64encode(b"open sesame & close").decode(),
        "\\u006f " + ENCODED[3:12],
    ],
)
def test_a_quoted_credential_is_found(said: str) -> None:
    assert quotes(f"you sent {said}, and I refuse", PROOF)


@pytest.mark.parametrize(
    "said", ["", "you may not", "User: arn:aws:iam::1:user/me is not authorized: ecr:BatchGetImage"]
)
@pytest.mark.parametrize("proof", [PROOF, "Bearer eyJhbGciOiJIUzI1NiJ9.e30.abcdef", None, "", "Basic", "Basic !"])
def test_ordinary_words_are_not(said: str, proof: str | None) -> None:
    assert not quotes(said, proof)
