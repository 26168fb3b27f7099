"""What Prometheus reads of a scrape, by its own parser."""

from collections.abc import Mapping
from typing import NamedTuple

from prometheus_client.parser import text_string_to_metric_families


class Scrape(NamedTuple):
    """``kinds`` and ``helps`` by the name of the family; ``samples`` by the name of the series and its labels."""

    kinds: Mapping[str, str]
    helps: Mapping[str, str]
    samples: Mapping[tuple[str, frozenset[tuple[str, str]]], float]

    def value(self, name: str, **labels: str) -> float:
        """Of all series that have these labels, together."""
        wanted = labels.items()
        return sum(value for (each, has), value in self.samples.items() if each == name and wanted <= has)

    def label_values(self, name: str, label: str) -> set[str]:
        return {dict(has)[label] for (each, has), _ in self.samples.items() if each == name and label in dict(has)}


def parsed(text: str) -> Scrape:
    """Raises ValueError for what Prometheus would not take."""
    families = list(text_string_to_metric_families(text))
    samples = [sample for family in families for sample in family.samples]
    assert not [sample for sample in samples if sample.exemplar is not None]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples), "a series is told twice"
    return Scrape(
        {family.name: family.type for family in families},
        {family.name: family.documentation for family in families},
        found,
    )
