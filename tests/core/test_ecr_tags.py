import pytest

from proxy.core.ecr_tags import TagMutability, is_immutable


@pytest.mark.parametrize(
    ("setting", "exclusions", "tag", "immutable"),
    [
        ("IMMUTABLE", (), "v1", True),
        ("MUTABLE", (), "v1", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "v1", True),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "latest", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "dev-", False),
        ("IMMUTABLE_WITH_EXCLUSION", ("latest", "dev-*"), "my-dev-1", True),
        ("MUTABLE_WITH_EXCLUSION", ("v*.*",), "v1.2", True),
        ("MUTABLE_WITH_EXCLUSION", ("v*.*",), "v12", False),
        ("MUTABLE_WITH_EXCLUSION", ("v1.2",), "v1x2", False),
        ("MUTABLE_WITH_EXCLUSION", ("v1",), "V1", False),
        ("SOMETHING_NEW", (), "v1", False),
        ("", (), "v1", False),
    ],
)
def test_what_ecr_says_of_a_tag(setting: str, exclusions: tuple[str, ...], tag: str, immutable: bool) -> None:
    assert is_immutable(TagMutability(setting, exclusions), tag) is immutable


def test_many_stars_cost_no_time() -> None:
    assert not is_immutable(TagMutability("MUTABLE_WITH_EXCLUSION", ("*a" * 60 + "*b",)), "a" * 128)
