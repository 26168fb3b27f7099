"""The way out of calls to AWS: the same rules as for the registry whose token is asked for, and not botocore's own
reading of the environment, which knows no networks in NO_PROXY."""

from typing import Any

from proxy.core.errors import UpstreamUnreachable
from proxy.upstream.ecr_faults import AwsFault
from proxy.upstream.egress import WayClosed, WaysOut
from proxy.upstream.target import TargetRefused, parse_target


async def endpoint_of(session: Any, service: str, options: dict[str, Any]) -> str:
    """The URL that a client with these options would ask. No credentials are looked for, and nobody is asked."""
    nobody = {"aws_access_key_id": "-", "aws_secret_access_key": "-"}
    async with session.create_client(service, **options, **nobody) as client:
        return str(client.meta.endpoint_url)


async def way_to(endpoint: str, ways: WaysOut) -> dict[str, Any]:
    """What a client's config says of the way to its endpoint. Raises AwsFault."""
    try:
        origin = parse_target(endpoint).origin
        proxy = await ways.to(origin)
    except (WayClosed, TargetRefused) as closed:
        raise AwsFault(UpstreamUnreachable, f"AWS cannot be reached: {closed}") from closed
    if proxy is None:
        return {"proxies": {}}  # None would let botocore look into the environment
    way: dict[str, Any] = {"proxies": {origin.scheme: proxy.url}}
    return {**way, "http_session_cls": _trusting(ways.ca_file)} if ways.ca_file is not None else way


def _trusting(ca_file: str) -> type:
    """Sessions that trust the authorities of a file besides: the proxy's, or those that it signs anew by."""
    from aiobotocore.httpsession import AIOHTTPSession  # type: ignore[import-untyped]  # noqa: PLC0415

    class TrustingSession(AIOHTTPSession):  # type: ignore[misc]  # there is no other way to add to the defaults
        def _get_ssl_context(self) -> Any:
            context = super()._get_ssl_context()
            context.load_verify_locations(ca_file)
            return context

    return TrustingSession
