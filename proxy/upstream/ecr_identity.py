"""Under whose name AWS is asked."""

from dataclasses import dataclass

from proxy.upstream.egress import DIRECT, WaysOut


@dataclass(frozen=True, slots=True)
class AwsIdentity:
    """Who asks, where, and by which ways: the key under which an ECR token may be shared. Every other field may come
    from one upstream's ``auth`` settings; empty means what the environment of the process says."""

    region: str
    role_arn: str = ""
    external_id: str = ""
    profile: str = ""
    endpoint_url: str = ""  # of the ECR API; STS goes by AWS_ENDPOINT_URL_STS
    fips: bool = False
    dual_stack: bool = False
    ways: WaysOut = DIRECT  # those that are the same are one object

    def __str__(self) -> str:
        who = self.role_arn or (f"profile {self.profile}" if self.profile else "the credentials of this process")
        return f"{who} in {self.region}"
