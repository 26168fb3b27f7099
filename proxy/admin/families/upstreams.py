"""Metrics of what is asked of upstreams, and how they do."""

from collections.abc import Mapping, Sequence

from proxy.admin.families.declared import Declaration, Observed

UPSTREAMS: Sequence[Declaration] = (
    Declaration("upstream_requests", "counter", "Requests to upstreams.", ("upstream", "kind", "status"),
                lambda seen: seen.telemetry.registries.requests()),
    Declaration("upstream_bytes", "counter", "Bytes of bodies received from upstreams.", ("upstream",),
                lambda seen: seen.telemetry.registries.received()),
    Declaration("upstream_first_byte_seconds", "histogram",
                "Time until the head of an upstream's answer was there, connecting included.", ("upstream", "kind"),
                lambda seen: seen.telemetry.registries.first_bytes()),
    Declaration("upstream_offline", "gauge", "1 where an upstream is not asked, by configuration.", ("upstream",),
                lambda seen: {(name,): 1.0 for name in seen.telemetry.registries.offline()}),
    Declaration("upstream_closed_off", "gauge",
                "Hosts, and single things, that are not asked now because they did not answer or limit our requests.",
                ("upstream", "reach"), lambda seen: seen.telemetry.registries.breakers()),
    Declaration("upstream_quota", "gauge", "Pulls that an upstream allows, as it last said (RateLimit-Limit).",
                ("upstream",), lambda seen: seen.telemetry.registries.quotas()[0]),
    Declaration("upstream_quota_left", "gauge",
                "Pulls that an upstream still allows, as it last said (RateLimit-Remaining).", ("upstream",),
                lambda seen: seen.telemetry.registries.quotas()[1]),
    Declaration("upstream_touches", "counter", "Manifests fetched to keep upstream's pull times honest.", (),
                lambda seen: {(): seen.telemetry.cache.touches.done}),
    Declaration("aws_token_left_seconds", "gauge", "How long the token of an AWS identity is still good; 0: none is.",
                ("identity",), lambda seen: {(name,): _left(token) for name, token in _tokens(seen).items()}),
    Declaration("aws_token_failures", "counter", "Tokens that AWS did not give.", ("identity",),
                lambda seen: {(name,): token["failures"] for name, token in _tokens(seen).items()}),
)  # fmt: skip


def _tokens(seen: Observed) -> Mapping[str, Mapping[str, float]]:
    return seen.telemetry.registries.amazon.tokens()


def _left(token: Mapping[str, float]) -> float:
    return max(0.0, token["expires_in"] or 0.0)
