"""Names, digests, references and ranges: what is taken is by the grammar, to the letter, and safe where it goes."""

import re

from hypothesis import example, given
from hypothesis import strategies as st

from proxy.core.errors import DigestInvalid, NameInvalid, RangeUnsatisfiable, SeveralRanges, TagInvalid
from proxy.core.names import NAME_LIMIT, Digest, parse_name, parse_reference
from proxy.core.ranges import parse_range
from tests.fuzz import examples

NEAR_NAMES = st.lists(
    st.sampled_from(
        ["a", "0", "app", "/", ".", "..", "_", "__", "___", "-", "--", "A", "é", "\n", "\0", "%2f", " ", "\\"]
    ),
    max_size=8,
).map("".join)
COMPONENT = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*\Z")  # OCI distribution-spec "Pulling manifests"
NEAR_DIGESTS = st.tuples(
    st.sampled_from(["sha256", "sha512", "SHA256", "md5", "", "sha256+b64"]),
    st.sampled_from([":", "", "::", "-"]),
    st.sampled_from("0aAgé\n"),
    st.sampled_from([0, 1, 63, 64, 65, 127, 128, 129]),
    st.sampled_from(["", "\n", "/", " "]),
).map(lambda parts: f"{parts[0]}{parts[1]}{parts[2] * parts[3]}{parts[4]}")
NUMBERS = st.integers(0, 1100).map(str) | st.sampled_from(
    ["", "-1", "+1", "1_0", "٣", " 1", "1 ", "9" * 41, "0" * 39 + "1"]
)
NEAR_RANGES = st.builds(
    "{}{}{}-{}{}".format,
    st.sampled_from(["bytes", "BYTES", "byte", "", "items"]),
    st.sampled_from(["=", " =", "= ", "", ":"]),
    NUMBERS,
    NUMBERS,
    st.sampled_from(["", " ", ",", ",3-4", "\n", "\t", "x"]),
)


@examples
@given(NEAR_NAMES | st.text(max_size=30) | st.integers(250, 260).map(lambda length: "a" * length))
@example("a\n")
@example("a/../b")
@example("a" * 100_000 + "-")
def test_a_name_is_by_the_grammar_and_no_way_out_of_a_folder(text: str) -> None:
    try:
        name = parse_name(text)
    except NameInvalid as fault:
        assert str(fault).isprintable() and len(str(fault)) < 1000
        assert len(text) > NAME_LIMIT or not all(map(COMPONENT.match, text.split("/")))
        return
    assert name == text and len(name) <= NAME_LIMIT
    assert all(map(COMPONENT.match, name.split("/")))


@examples
@given(NEAR_DIGESTS | st.text(max_size=140))
@example("a\n")
@example("." * 3)
def test_a_reference_is_a_digest_or_a_tag_to_the_letter(text: str) -> None:
    try:
        reference = parse_reference(text)
    except (DigestInvalid, TagInvalid) as fault:
        assert str(fault).isprintable() and len(str(fault)) < 1000
        return
    assert reference == text and text.isascii() and text.isprintable() and "/" not in text
    if isinstance(reference, Digest):
        assert len(reference.encoded) == {"sha256": 64, "sha512": 128}[reference.algorithm]
        assert set(reference.encoded) <= set("0123456789abcdef")
    else:
        assert 1 <= len(text) <= 128 and text[0] not in ".-"


@examples
@given(NEAR_RANGES | st.text(max_size=30), st.integers(0, 1000))
def test_a_range_is_ignored_or_lies_within_what_there_is(header: str, size: int) -> None:
    try:
        asked = parse_range(header)
    except SeveralRanges:
        assert "," in header
        return
    if asked is None:
        return
    digits = re.fullmatch(r"bytes=[ \t]*([0-9]*)-([0-9]*)[ \t]*", header.lower())
    assert digits is not None
    try:
        span = asked.within(size)
    except RangeUnsatisfiable:
        assert size == 0 or (digits[1] and int(digits[1]) >= size) or (not digits[1] and int(digits[2]) == 0)
        return
    assert 0 <= span.start < span.end <= size
    if digits[1]:
        assert span == (int(digits[1]), size if not digits[2] else min(int(digits[2]) + 1, size))
    else:
        assert span.length == min(int(digits[2]), size)
