import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.ecr_names import EcrHost, is_ecr_public, looks_like_ecr, parse_ecr_host
from proxy.core.names import UpstreamNames

ACCOUNT = "123456789012"

HOSTS = {
    f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com": ("us-east-1", "amazonaws.com", False, False, "aws"),
    f"{ACCOUNT}.dkr.ecr-fips.us-east-1.amazonaws.com": ("us-east-1", "amazonaws.com", True, False, "aws"),
    f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws": ("eu-west-1", "on.aws", False, True, "aws"),
    f"{ACCOUNT}.dkr-ecr-fips.us-west-2.on.aws": ("us-west-2", "on.aws", True, True, "aws"),
    f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn": ("cn-north-1", "amazonaws.com.cn", False, False, "aws-cn"),
    f"{ACCOUNT}.dkr-ecr.cn-northwest-1.on.amazonwebservices.com.cn": (
        "cn-northwest-1",
        "on.amazonwebservices.com.cn",
        False,
        True,
        "aws-cn",
    ),
    f"{ACCOUNT}.dkr.ecr.us-gov-west-1.amazonaws.com": ("us-gov-west-1", "amazonaws.com", False, False, "aws-us-gov"),
    f"{ACCOUNT}.dkr.ecr-fips.us-gov-east-1.amazonaws.com": (
        "us-gov-east-1",
        "amazonaws.com",
        True,
        False,
        "aws-us-gov",
    ),
    f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu": ("eusc-de-east-1", "amazonaws.eu", False, False, "aws-eusc"),
    f"{ACCOUNT}.dkr.ecr.us-iso-east-1.c2s.ic.gov": ("us-iso-east-1", "c2s.ic.gov", False, False, "aws-iso"),
    f"{ACCOUNT}.dkr.ecr.us-isob-east-1.sc2s.sgov.gov": ("us-isob-east-1", "sc2s.sgov.gov", False, False, "aws-iso-b"),
    f"{ACCOUNT}.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk": ("eu-isoe-west-1", "cloud.adc-e.uk", False, False, "aws-iso-e"),
    f"{ACCOUNT}.dkr.ecr.us-isof-south-1.csp.hci.ic.gov": (
        "us-isof-south-1",
        "csp.hci.ic.gov",
        False,
        False,
        "aws-iso-f",
    ),
}

MISTAKEN = [
    "12345678901.dkr.ecr.us-east-1.amazonaws.com",
    "1234567890123.dkr.ecr.us-east-1.amazonaws.com",
    "myaccount.dkr.ecr.us-east-1.amazonaws.com",
    f"{ACCOUNT}.DKR.ecr.us-east-1.amazonaws.com",
    f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com.",
    f"{ACCOUNT}.dkr.ecr.US-EAST-1.amazonaws.com",
    f"{ACCOUNT}.dkr.ecr.amazonaws.com",
    f"{ACCOUNT}.dkr.ecr.us-east-1.on.aws",
    f"{ACCOUNT}.dkr-ecr.us-east-1.amazonaws.com",
    f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com.evil.test",
    "*.*.dkr.ecr.us-east-1.amazonaws.com",
    "api.ecr.us-east-1.amazonaws.com",
    "ecr.us-east-1.amazonaws.com",
    "www.public.ecr.aws",
    "public.ecr.aws.com",
]

FOREIGN = ["docker.io", "ecr.example.com", "registry.ecr-team.test", "quay.io", "s3.us-east-1.amazonaws.com", ""]


@pytest.mark.parametrize(("host", "parts"), HOSTS.items())
def test_every_form_of_a_private_registry_is_known(host: str, parts: tuple[str, str, bool, bool, str]) -> None:
    found = parse_ecr_host(host)
    assert found == EcrHost(ACCOUNT, *parts[:4])
    assert found.partition == parts[4]
    assert not looks_like_ecr(host)


@pytest.mark.parametrize("host", MISTAKEN)
def test_what_was_meant_as_ecr_is_told_apart(host: str) -> None:
    assert parse_ecr_host(host) is None
    assert not is_ecr_public(host)
    assert looks_like_ecr(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_other_registries_are_left_alone(host: str) -> None:
    assert parse_ecr_host(host) is None
    assert not looks_like_ecr(host)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("spoil", ["\n{}", "{}\n", "{}:443", "https://{}", "x{}", "{}.evil.test", "{}/"])
def test_no_credentials_go_to_a_name_that_only_contains_one(host: str, spoil: str) -> None:
    assert parse_ecr_host(spoil.format(host)) is None


def test_digits_of_other_scripts_are_no_account() -> None:
    assert parse_ecr_host("\u0661" * 12 + ".dkr.ecr.us-east-1.amazonaws.com") is None


def test_both_names_of_ecr_public() -> None:
    for host in ("public.ecr.aws", "ecr-public.aws.com"):
        assert is_ecr_public(host)
        assert not looks_like_ecr(host)
        assert parse_ecr_host(host) is None


def test_a_wildcard_for_the_account_is_no_mistake() -> None:
    assert not looks_like_ecr("*.dkr.ecr.us-east-1.amazonaws.com")


@pytest.mark.parametrize(
    ("pattern", "host", "fits"),
    [
        ("*.dkr.ecr.us-east-1.amazonaws.com", f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com", True),
        ("*.dkr.ecr.us-east-1.amazonaws.com", f"{ACCOUNT}.dkr.ecr.us-east-2.amazonaws.com", False),
        ("*.dkr.ecr.us-east-1.amazonaws.com", f"a.{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com", False),
        ("*.dkr.ecr.us-east-1.amazonaws.com", "dkr.ecr.us-east-1.amazonaws.com", False),
        ("*.dkr.ecr.us-east-1.amazonaws.com", ".dkr.ecr.us-east-1.amazonaws.com", False),
        ("*.dkr.ecr.us-east-1.amazonaws.com", f"{ACCOUNT}.dkr.ecr.us-east-1.amazonawsxcom", False),
        ("1*.dkr.ecr.us-east-1.amazonaws.com", f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com", False),
        ("docker.io", "docker.io", True),
    ],
)
def test_a_star_is_exactly_one_label(pattern: str, host: str, fits: bool) -> None:
    assert (UpstreamNames.of([pattern], None).find(host) is not None) is fits


@given(st.text(alphabet="0123456789.*-abcdekrmnoswzu\n", max_size=60))
def test_no_text_is_both_an_ecr_host_and_a_mistaken_one(text: str) -> None:
    assert not (parse_ecr_host(text) is not None and looks_like_ecr(text))
