"""What Entrepot's admin listener tells."""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.bench.clients import WrongAnswer


def metric(admin_port: int, name: str, **labels: str) -> float:
    """Raises WrongAnswer where there is no such sample."""
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics") as answer:
        text = answer.read().decode()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name and sample.labels == labels:
                return float(sample.value)
    raise WrongAnswer(f"no {name}{labels} in /metrics")


def order(admin_port: int, name: str, wish: dict[str, object]) -> Iterator[dict[str, Any]]:
    """What the order does, while it does it. Raises WrongAnswer where it fails."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{admin_port}/api/v1/{name}",
        json.dumps(wish).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        for line in answer:
            event = json.loads(line)
            if "error" in event:
                raise WrongAnswer(f"{name}: {event['error']}")
            yield event
