"""Scenes that go wrong, with what goes wrong in them. A line goes when its scene goes right."""

from typing import NamedTuple


class Known(NamedTuple):
    scene: str  # file::function
    where: tuple[str, ...]  # patterns of its parameters
    reason: str


_ENCODED = "Content-Encoding: aws-chunked is taken for an encoding of the bytes"
_HEAD = "a HEAD that is refused is taken for the registry's verdict on the tag"
_RANGE = "a refused Range is taken for the registry's answer, and nobody asks without one"
_RESUME = "what is said once to a resume is final: the registry is not asked anew"
_SHORT = "a small answer that breaks off is not asked for again"
_PAGE = "a page for people is taken for a broken promise, not for an outage"
_PAGE_AS_BLOB = "a page in place of a blob counts as wrong bytes, after which nobody asks for five minutes"
_LINK = "of a link only the parameter last is kept"
_TOKENS = "a token server is asked once"

_HARBOR, _NEXUS, _ARTIFACTORY = ("harbor.example.com*",), ("nexus.example.com:8083*",), ("artifactory.example.com*",)
_SIGNED_RANGES = ("registry.example.com:5000*",)
_NO_RANGES = tuple(
    f"{name}-{at}"
    for name in ("artifactory.example.com", "registry.example.com:5000")
    for at in ("first byte", "half", "all but one")
)

_COLD = "test_cold.py::test_"
_WARM = "test_warm.py::test_"
_STALE = "test_stale.py::test_"
_GONE = "test_gone.py::test_"
_CUT = "test_cut.py::test_"
_REFUSED = "test_refused.py::test_"

WRONG: tuple[Known, ...] = (
    Known(f"{_COLD}an_image_is_pulled_and_each_byte_is_fetched_once", _HARBOR, _ENCODED),
    Known(f"{_COLD}the_size_of_a_blob_is_known_without_its_bytes", _HARBOR, _ENCODED),
    Known(f"{_COLD}the_size_of_a_blob_is_known_without_its_bytes", _ARTIFACTORY + _NEXUS + _SIGNED_RANGES, _RANGE),
    Known(f"{_COLD}a_layer_of_one_repository_is_served_to_another_once_the_registry_says_yes", _HARBOR, _ENCODED),
    Known(
        f"{_COLD}a_layer_of_one_repository_is_served_to_another_once_the_registry_says_yes",
        _ARTIFACTORY + _NEXUS,
        _RANGE,
    ),
    Known(f"{_WARM}a_held_image_is_served_without_a_second_transfer", _HARBOR, _ENCODED),
    Known(f"{_WARM}a_tag_that_has_not_moved_is_confirmed", _HARBOR + _NEXUS, _HEAD),
    Known(f"{_WARM}a_tag_that_has_moved_is_followed", _HARBOR + _NEXUS, _HEAD),
    Known(f"{_WARM}a_refused_head_is_no_verdict_on_a_tag", ("40[134]-*", "501-*"), _HEAD),
    Known(
        f"{_STALE}a_known_tag_is_served_while_something_else_stands_in_front",
        ("europe-docker.pkg.dev", "zot.example.com"),
        _PAGE,
    ),
    Known(f"{_STALE}a_known_tag_is_served_while_something_else_stands_in_front", _HARBOR, _ENCODED),
    Known(
        f"{_STALE}what_stands_in_front_is_never_content",
        ("europe-docker.pkg.dev-blob", "zot.example.com-blob"),
        _PAGE_AS_BLOB,
    ),
    Known(f"{_STALE}what_stands_in_front_is_never_content", _HARBOR + _NEXUS, _HEAD),
    Known(f"{_GONE}a_known_tag_and_held_blobs_are_served", _HARBOR, _ENCODED),
    Known(f"{_GONE}referrers_are_those_that_were_known", _HARBOR, _ENCODED),
    Known(f"{_GONE}what_is_not_held_is_an_outage", _HARBOR, _ENCODED),
    Known(f"{_GONE}tags_are_listed_from_what_is_held", _HARBOR, _ENCODED),
    Known("test_limited.py::test_a_known_tag_is_served_and_a_cold_pull_hears_when_to_come_again", _HARBOR, _ENCODED),
    Known(f"{_CUT}a_blob_that_breaks_off_is_resumed", _HARBOR, _ENCODED),
    Known(f"{_CUT}a_blob_that_breaks_off_is_resumed", (*_NO_RANGES, "nexus.example.com:8083-all but one"), _RANGE),
    Known(
        f"{_CUT}a_resume_that_is_refused_once_is_asked_of_the_registry_anew",
        ("*-400", "*-404", "harbor.example.com-*", "artifactory.example.com-*", "registry.example.com:5000-*"),
        _RESUME,
    ),
    Known(f"{_CUT}a_manifest_that_breaks_off_is_fetched_again", ("*",), _SHORT),
    Known(f"{_CUT}a_list_of_tags_that_breaks_off_is_fetched_again", ("*",), _SHORT),
    Known("test_hiccup.py::test_a_token_server_that_fails_once_fails_no_pull", ("*",), _TOKENS),
    Known(f"{_REFUSED}a_refused_repository_says_nothing_against_the_others", _HARBOR, _ENCODED),
    Known(f"{_REFUSED}a_token_that_is_good_no_more_is_replaced", _HARBOR, _ENCODED),
    Known("test_slow.py::test_a_slow_blob_is_fetched_once_for_all_who_wait", _HARBOR, _ENCODED),
    Known(
        "test_paged.py::test_whoever_follows_the_links_reads_every_tag_once",
        ("quay.io-*", "zot.example.com-n=50", "zot.example.com-n=10000"),
        _LINK,
    ),
)
