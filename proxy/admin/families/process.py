"""Metrics of the process and what goes on behind pulls."""

from collections.abc import Sequence

from proxy import __version__
from proxy.admin.families.declared import Declaration

PROCESS: Sequence[Declaration] = (
    Declaration("reloads", "counter", "Reloads of policies and pins.", ("result",),
                lambda seen: {(result,): count for result, count in seen.telemetry.reload.counts.items()}),
    Declaration("loop_lag_seconds", "gauge", "How late the event loop was in the last minute.", ("quantile",),
                lambda seen: seen.telemetry.lag.quantiles()),
    Declaration("log_lines_dropped", "counter", "Log lines that nobody took in time.", (),
                lambda seen: {(): seen.telemetry.logs.dropped}),
    Declaration("build_info", "gauge", "The version.", ("version",), lambda seen: {(__version__,): 1}),
    Declaration("job_failures", "counter", "Failures of background jobs.", ("job",),
                lambda seen: {(name,): state.failures for name, state in seen.telemetry.jobs.items()}),
    Declaration("job_failing", "gauge", "1 while the last run of a background job failed.", ("job_name",),
                lambda seen: {(name,): 1.0 if state.trouble else 0.0 for name, state in seen.telemetry.jobs.items()}),
    Declaration("degraded", "gauge", "1 while something is wrong that pulls go on without; status says what.", (),
                lambda seen: {(): 1.0 if seen.health.degraded() else 0.0}),
    Declaration("catalog_recovered", "gauge", "How the catalog came up at the start.", ("how",),
                lambda seen: {(seen.telemetry.recovered(),): 1.0}),
)  # fmt: skip
