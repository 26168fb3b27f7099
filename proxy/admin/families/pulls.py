"""Metrics of what clients ask for, and by which connections."""

from collections.abc import Mapping, Sequence
from operator import attrgetter

from proxy.admin.families.declared import Declaration, Observed
from proxy.core.histogram import Histogram
from proxy.front.latency import Timed, latencies

PULLS: Sequence[Declaration] = (
    Declaration("requests", "counter", "Requests of clients.", ("upstream", "kind", "outcome"),
                lambda seen: seen.telemetry.access_log.requests()),
    Declaration("request_seconds", "histogram",
                "Time from a request to the end of its reply; what is answered from memory counts as 0.",
                ("kind", "outcome"), lambda seen: _latencies(seen, attrgetter("seconds"))),
    Declaration("request_first_byte_seconds", "histogram",
                "Time from a request to the head of its reply; what is answered from memory counts as 0.",
                ("kind", "outcome"), lambda seen: _latencies(seen, attrgetter("first_byte"))),
    Declaration("requests_active", "gauge", "Requests under way.", (),
                lambda seen: {(): seen.telemetry.requests_active()}),
    Declaration("responses", "counter", "Replies to clients by status class.", ("status",),
                lambda seen: seen.telemetry.access_log.statuses()),
    Declaration("client_bytes", "counter", "Bytes of bodies sent to clients.", ("upstream", "outcome"),
                lambda seen: seen.telemetry.access_log.sent()),
    Declaration("group_requests", "counter",
                "Requests by the callers' group that a rule of allow names. Only where clients can log in.", ("group",),
                lambda seen: seen.telemetry.access_log.groups.requests()),
    Declaration("group_bytes", "counter",
                "Bytes of bodies sent, by the callers' group. Only where clients can log in.", ("group",),
                lambda seen: seen.telemetry.access_log.groups.sent()),
    Declaration("replies_cut", "counter", "Replies broken off: the client left, or the bytes were not good.", (),
                lambda seen: {(): seen.telemetry.access_log.cut}),
    Declaration("connections", "gauge", "Open client connections.", (),
                lambda seen: {(): len(seen.telemetry.front.connections)}),
    Declaration("connections_refused", "counter", "Connections refused: too many.", (),
                lambda seen: {(): seen.telemetry.front.refused}),
    Declaration("requests_malformed", "counter", "Requests that are not HTTP.", (),
                lambda seen: {(): seen.telemetry.front.malformed.count}),
    Declaration("logins", "counter", "Logins that had to be proven, by result.", ("result",),
                lambda seen: _labelled(seen.telemetry.logins.counts)),
    Declaration("tls_handshakes", "counter", "Handshakes with clients, by how they ended.", ("result",),
                lambda seen: _labelled(seen.telemetry.tls.tls.handshakes) if seen.telemetry.tls else {}),
    Declaration("tls_files", "counter", "New files of TLS that were taken, or refused.", ("result",),
                lambda seen: _labelled(seen.telemetry.tls.counts) if seen.telemetry.tls else {}),
    Declaration("tls_certificate_ends_seconds", "gauge",
                "When our certificate ends, since the epoch; 0: it has. Only where the listener speaks TLS.", (),
                lambda seen: {(): seen.telemetry.tls.ends or 0.0} if seen.telemetry.tls else {}),
)  # fmt: skip


def _latencies(seen: Observed, timed: Timed) -> Mapping[tuple[str, ...], Histogram]:
    return latencies(seen.telemetry.access_log, timed)


def _labelled(counts: Mapping[str, int]) -> Mapping[tuple[str, ...], float]:
    return {(result,): count for result, count in counts.items()}
