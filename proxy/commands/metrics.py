"""``entrepot metrics``: what the admin listener's ``/metrics`` tells, for those who write queries. Asks nobody."""

import json
from collections.abc import Iterator

from proxy.admin.families import DECLARED
from proxy.admin.families.declared import Declaration
from proxy.commands.session import AsJson

_HEAD = """\
# Metrics

What `/metrics` on the admin listener tells, in Prometheus' text format. `entrepot metrics` prints this page, with `--json`
the list alone. Labels are closed sets: upstreams by their key in the configuration, so a pattern counts as one. There are no
exemplars. Beside these, `process_*` and `python_info` are those of Prometheus' client library: open and allowed descriptors,
memory, CPU time, start.

| metric | type | labels | meaning |
|---|---|---|---|"""  # noqa: E501

_TAIL = """
## Queries

| what | query |
|---|---|
| hit ratio by requests | `sum(rate(entrepot_requests_total{kind=~"manifest\\|blob",outcome=~"hit\\|stale\\|offline\\|revalidated"}[5m])) / sum(rate(entrepot_requests_total{kind=~"manifest\\|blob",outcome=~"hit\\|stale\\|offline\\|revalidated\\|miss\\|collapsed\\|bypass"}[5m]))` |
| hit ratio by bytes: what did not have to be fetched | `1 - sum(rate(entrepot_upstream_bytes_total[1h])) / sum(rate(entrepot_client_bytes_total[1h]))` |
| time to the first byte of blobs that had to be fetched, 99 % | `histogram_quantile(0.99, sum by (le) (rate(entrepot_request_first_byte_seconds_bucket{kind="blob",outcome="miss"}[5m])))` |
| is the cache large enough: half of what is evicted was unused for so long | `histogram_quantile(0.5, sum by (le) (rate(entrepot_eviction_age_seconds_bucket[1d])))` |
| part of the quota that is left | `entrepot_upstream_quota_left / entrepot_upstream_quota` |"""  # noqa: E501


def metrics(as_json: AsJson = False) -> None:
    """What the admin listener's /metrics tells, as Markdown."""
    if as_json:
        print(json.dumps([_entry(each) for each in DECLARED], indent=2))
        return
    print("\n".join([_HEAD, *_rows(), _TAIL]))


def _entry(each: Declaration) -> dict[str, object]:
    return {"name": each.exported, "type": each.kind, "labels": list(each.labels), "help": each.help}


def _rows() -> Iterator[str]:
    for each in sorted(DECLARED, key=lambda each: each.name):
        labels = ", ".join(f"`{label}`" for label in each.labels)
        yield f"| `{each.exported}` | {each.kind} | {labels} | {each.help} |"
