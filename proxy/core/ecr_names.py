"""The host names of Amazon ECR, private and public, and wildcard patterns over them.

Forms: AWS general reference, "Amazon ECR endpoints and quotas"; ECR user guide, "Making requests to Amazon ECR
registries over IPv6". DNS suffixes: the partitions of botocore. AWS credentials go to what is recognised here, so every
rule is a full match in lower-case ASCII, and a name that merely resembles one is none.
"""

import re
from typing import NamedTuple

PUBLIC_HOSTS = frozenset({"public.ecr.aws", "ecr-public.aws.com"})

# DNS suffixes of registry hosts, by partition; GovCloud shares those of "aws" and is known by its region.
_SUFFIXES = {
    "amazonaws.com": "aws",
    "amazonaws.com.cn": "aws-cn",
    "amazonaws.eu": "aws-eusc",
    "c2s.ic.gov": "aws-iso",
    "sc2s.sgov.gov": "aws-iso-b",
    "cloud.adc-e.uk": "aws-iso-e",
    "csp.hci.ic.gov": "aws-iso-f",
}
_DUAL_STACK_SUFFIXES = {
    "on.aws": "aws",
    "on.amazonwebservices.com.cn": "aws-cn",
}


def _host_pattern(service: str, suffixes: dict[str, str]) -> re.Pattern[str]:
    suffix = "|".join(map(re.escape, suffixes))
    return re.compile(
        rf"(?P<account>[0-9]{{12}})\.{service}(?P<fips>-fips)?\.(?P<region>[a-z0-9]+(?:-[a-z0-9]+)*)\.(?P<suffix>{suffix})",
        re.ASCII,
    )


_STANDARD = _host_pattern(r"dkr\.ecr", _SUFFIXES)
_DUAL_STACK = _host_pattern(r"dkr-ecr", _DUAL_STACK_SUFFIXES)
_ECR_WORD = re.compile(r"(?:^|[.-])ecr(?:[.-]|$)", re.ASCII)
_DKR_WORD = re.compile(r"(?:^|[.-])dkr(?:[.-]|$)", re.ASCII)
_AWS_DOMAINS = (*_SUFFIXES, *_DUAL_STACK_SUFFIXES, "aws", "aws.com")


class EcrHost(NamedTuple):
    """One private registry: an account in a region, by one of its names."""

    account: str  # twelve digits
    region: str  # of the registry, whatever the region Entrepot runs in
    dns_suffix: str
    fips: bool
    dual_stack: bool

    @property
    def partition(self) -> str:
        """The partition as ARNs spell it."""
        if self.region.startswith("us-gov-"):
            return "aws-us-gov"
        return (_DUAL_STACK_SUFFIXES if self.dual_stack else _SUFFIXES)[self.dns_suffix]

    @property
    def layers(self) -> str:
        """The host of S3 where its layers are, which an interface endpoint with private DNS may have in the VPC (ECR
        user guide, "Amazon ECR interface VPC endpoints"); named as in the partition that most registries are in."""
        suffix = "amazonaws.com.cn" if self.partition == "aws-cn" else "amazonaws.com"
        return f"prod-{self.region}-starport-layer-bucket.s3.{self.region}.{suffix}"


def parse_ecr_host(host: str) -> EcrHost | None:
    """The private registry that ``host`` (no scheme, no port) names, or None."""
    for pattern, dual_stack in ((_STANDARD, False), (_DUAL_STACK, True)):
        if found := pattern.fullmatch(host):
            return EcrHost(found["account"], found["region"], found["suffix"], found["fips"] is not None, dual_stack)
    return None


def is_ecr_public(host: str) -> bool:
    return host in PUBLIC_HOSTS


def looks_like_ecr(host: str) -> bool:
    """True for a name that is not an ECR host but was surely meant as one: a configuration error.

    A pattern such as ``*.dkr.ecr.us-east-1.amazonaws.com`` is judged by an account standing in for its star.
    """
    concrete = re.sub(r"^\*(?=\.)", "0" * 12, host)
    if parse_ecr_host(concrete) is not None or is_ecr_public(host):
        return False
    folded = host.lower().rstrip(".")
    of_aws = any(folded.endswith(f".{domain}") for domain in _AWS_DOMAINS)
    return _ECR_WORD.search(folded) is not None and (of_aws or _DKR_WORD.search(folded) is not None)
