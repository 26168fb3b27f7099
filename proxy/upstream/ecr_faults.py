"""Why AWS did not give what was asked for, in words that name the cause and what to do, with no secret in them."""

import time
from email.utils import parsedate_to_datetime
from typing import Any

from proxy.core.errors import (
    CredentialsFailed,
    Hint,
    RateLimited,
    UpstreamFailed,
    UpstreamFault,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from proxy.upstream.ecr_identity import AwsIdentity

_THROTTLED = {"ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded", "SlowDown"}
_DENIED = {"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "OptInRequired"}
_BAD_CREDENTIALS = {
    "UnrecognizedClientException", "InvalidClientTokenId",
    "InvalidIdentityToken", "MissingAuthenticationToken", "MissingAuthenticationTokenException",
}  # fmt: skip
_EXPIRED = {"ExpiredToken", "ExpiredTokenException"}
_OPTIONAL_POLICIES = {
    "DescribeImages": "iam-optional-push-times.json",
    "GetLifecyclePolicy": "iam-optional-lifecycle-import.json",
    "DescribeRepositories": "iam-optional-tag-immutability.json",
}
_MISSING = {
    "RepositoryNotFoundException": "there is no such repository",
    "LifecyclePolicyNotFoundException": "the repository has no lifecycle policy",
}
_BAD_SIGNATURE = {"InvalidSignatureException", "SignatureDoesNotMatch", "RequestTimeTooSkewed", "RequestExpired"}


class AwsFault(Exception):
    """AWS did not give what was asked for; no upstream is named yet, since several may share the identity."""

    def __init__(self, kind: type[UpstreamFault], why: str, hint: Hint | None = None) -> None:
        self.kind = kind
        self.why = why
        self.hint = hint or (Hint.AWS_DENIED if kind is CredentialsFailed else None)
        super().__init__(why)

    def towards(self, upstream: str, retry_after: float) -> UpstreamFault:
        """The same as a fault of the upstream that needed it, which will be tried again in so many seconds. Throttling
        by AWS is an outage of its API, and no limit that the registry sets on pulls."""
        kind = UpstreamFailed if self.kind is RateLimited else self.kind
        return kind(upstream, f"{self.why}; AWS is asked again in {retry_after:.0f} s", hint=self.hint)


class NoCredentials(AwsFault):
    """The chain found nothing, so nobody was asked: an outage, since an instance metadata service that is down looks
    the same."""

    def __init__(self) -> None:
        super().__init__(
            UpstreamUnreachable,
            "no AWS credentials found; attach a role (EC2 instance profile with IMDSv2 hop limit 2 for containers, "
            "ECS task role, EKS Pod Identity or IRSA), or set AWS_ACCESS_KEY_ID or a profile",
            Hint.NO_AWS_CREDENTIALS,
        )


def answered_at(answer: dict[str, Any]) -> float:
    """Wall-clock seconds by the Date header of the answer, or by our own clock where it has none."""
    date = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
    try:
        return parsedate_to_datetime(date).timestamp()
    except ValueError:
        return time.time()


def _error_code(error: Exception) -> str:
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def aws_fault(error: Exception, identity: AwsIdentity, operation: str) -> AwsFault:
    """What an exception of botocore means for a pull: an outage, whose ever it is. Where AWS says no it is our identity
    that is refused, and the registry was not asked for anything."""
    import botocore.exceptions as boto  # type: ignore[import-untyped]  # noqa: PLC0415

    match error:
        case boto.ClientError():
            return _answered_fault(error, identity)
        case boto.NoCredentialsError():
            return NoCredentials()
        case boto.CredentialRetrievalError():
            return AwsFault(
                UpstreamUnreachable,
                f"no AWS credentials from provider {error.kwargs.get('provider')}",
                Hint.NO_AWS_CREDENTIALS,
            )
        case boto.ConnectTimeoutError() | boto.ReadTimeoutError():
            return AwsFault(UpstreamTimeout, f"{operation} timed out: {error}; {_endpoint_hint(identity)}")
        case boto.ProxyConnectionError():
            return AwsFault(UpstreamUnreachable, f"AWS cannot be reached: {error}")
        case boto.EndpointConnectionError() | boto.HTTPClientError():
            return AwsFault(UpstreamUnreachable, f"AWS cannot be reached: {error}; {_endpoint_hint(identity)}")
        case boto.BotoCoreError():
            return AwsFault(UpstreamFailed, f"the AWS settings do not work: {error}")
        case _:
            return AwsFault(UpstreamFailed, f"{operation} failed with {type(error).__name__}")


def _endpoint_hint(identity: AwsIdentity) -> str:
    return (
        f"without internet access the VPC needs the interface endpoints com.amazonaws.{identity.region}.ecr.api and "
        "ecr.dkr (and sts, where a role is assumed) with private DNS"
    )


def _answered_fault(error: Any, identity: AwsIdentity) -> AwsFault:
    code = _error_code(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    action = f"{error.operation_name} as {identity}"
    if code in _THROTTLED or status == 429:
        return AwsFault(RateLimited, f"AWS throttles {action}")
    if code in _DENIED:
        return AwsFault(CredentialsFailed, f"AWS denies {action} ({code}); {_denial_fix(error, identity)}")
    if code in _BAD_CREDENTIALS:
        return AwsFault(CredentialsFailed, f"AWS does not accept the credentials for {action} ({code})")
    if code in _EXPIRED:  # no verdict on our rights: whoever gives us credentials has stopped doing so
        return AwsFault(UpstreamFailed, f"the credentials for {action} have expired and no new ones came ({code})")
    if code in _BAD_SIGNATURE:
        skew = time.time() - answered_at(error.response)
        return AwsFault(
            UpstreamFailed,
            f"AWS does not accept the signature of {action} ({code}); our clock is {skew:+.0f} s from AWS's, "
            "check the secret key, or the clock where that is minutes",
        )
    if code in _MISSING:
        return AwsFault(UpstreamFailed, f"AWS answered {action}: {_MISSING[code]} ({code})")
    kind = CredentialsFailed if status in {401, 403} else UpstreamFailed
    return AwsFault(kind, f"AWS answered {action} with {code} (status {status})")


def _denial_fix(error: Any, identity: AwsIdentity) -> str:
    if error.operation_name == "AssumeRole":
        external = " and its external id" if identity.external_id else ""
        return f"check the trust policy of {identity.role_arn}{external}, and our right to sts:AssumeRole"
    policy = _OPTIONAL_POLICIES.get(error.operation_name, "iam-pull.json")
    return f"allow the action in its IAM policy (deploy/aws/{policy})"
