"""Under whose name AWS is asked."""

from dataclasses import dataclass
from typing import Self

from proxy.core.ecr_names import EcrHost


@dataclass(frozen=True, slots=True)
class AwsIdentity:
    """Who asks, and where: the key under which an ECR token may be shared. Every field may come from one upstream's
    ``auth`` settings; empty means what the environment of the process says."""

    region: str
    role_arn: str = ""
    external_id: str = ""
    profile: str = ""
    endpoint_url: str = ""  # of the ECR API; STS goes by AWS_ENDPOINT_URL_STS
    fips: bool = False
    dual_stack: bool = False

    def __str__(self) -> str:
        who = self.role_arn or (f"profile {self.profile}" if self.profile else "the credentials of this process")
        return f"{who} in {self.region}"

    @classmethod
    def of_host(
        cls,
        host: EcrHost,
        *,
        region: str | None = None,
        role_arn: str | None = None,
        external_id: str | None = None,
        profile: str | None = None,
        endpoint_url: str | None = None,
    ) -> Self:
        """For the registry at ``host``; what is not given follows from it."""
        where = (region or host.region, role_arn or "", external_id or "", profile or "", endpoint_url or "")
        return cls(*where, fips=host.fips, dual_stack=host.dual_stack)
