"""Names as people write them, choices among tags, and schedules."""

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.names import Repository
from proxy.core.steps import at_once
from proxy.warm.references import WantedImage, WantedTags, parse_wanted
from proxy.warm.schedule import demand_cron, next_time
from proxy.warm.versions import TagChoice, chosen

DIGEST = f"sha256:{'a' * 64}"
TAGS = [
    "1.26.9",
    "1.27.2",
    "v1.27.10",
    "1.28.0",
    "1.28.1-rc.1",
    "1.28",
    "1",
    "latest",
    "1.27.9-alpine",
    "1.27.10-alpine",
]


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("alpine", "docker.io/library/alpine:latest"),
        ("alpine:3.20", "docker.io/library/alpine:3.20"),
        ("bitnami/redis", "docker.io/bitnami/redis:latest"),
        ("index.docker.io/alpine:3", "docker.io/library/alpine:3"),
        ("ghcr.io/o/i:tag", "ghcr.io/o/i:tag"),
        ("localhost:5000/i", "localhost:5000/i:latest"),
        (f"ghcr.io/o/i:tag@{DIGEST}", f"ghcr.io/o/i@{DIGEST}"),
        ("nginx:^1.27", "docker.io/library/nginx:^1.27"),
        ("nginx:>=1.26 <2", "docker.io/library/nginx:>=1.26 <2"),
        ("nginx:1.2?.*", "docker.io/library/nginx:1.2?.*"),
    ],
)
def test_a_name_means_what_container_clients_take_it_for(written: str, name: str) -> None:
    assert str(parse_wanted(written)) == name


@pytest.mark.parametrize(
    "written",
    ["", ":", "Alpine", "alpine:", "a:b c", "a@sha256:12", "https://ghcr.io/o/i", "a/b:^nonsense", "a:<", "a" * 2000],
)
def test_what_is_no_name_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        parse_wanted(written)


@given(st.text(max_size=80))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_wanted(text), WantedImage | WantedTags)


@pytest.mark.parametrize(
    ("choice", "tags"),
    [
        (TagChoice(semver="^1.27"), ["1.28.0", "v1.27.10", "1.27.2"]),
        (TagChoice(semver="^1.27", newest=2), ["1.28.0", "v1.27.10"]),
        (TagChoice(semver="~1.27.0 || 1.26.x"), ["v1.27.10", "1.27.2", "1.26.9"]),
        (TagChoice(semver=">=1.28.1-rc.0"), ["1.28.1-rc.1"]),
        (TagChoice("*-alpine", "^1.27", 1), ["1.27.10-alpine"]),
        (TagChoice("1.27.*", newest=2), ["1.27.10-alpine", "1.27.9-alpine"]),
        (TagChoice("lat?st"), ["latest"]),
        (TagChoice(semver="^7"), []),
    ],
    ids=str,
)
def test_the_newest_that_fit_come_first(choice: TagChoice, tags: list[str]) -> None:
    choice.demand_good()
    assert at_once(chosen(choice, TAGS)) == tags


@pytest.mark.parametrize(
    "choice",
    [
        TagChoice(),
        TagChoice("a b"),
        TagChoice(semver="nonsense"),
        TagChoice(semver=""),
        TagChoice("*-*", "^1"),
        TagChoice("v?*", "^1"),
    ],
    ids=str,
)
def test_a_choice_that_means_nothing_is_refused(choice: TagChoice) -> None:
    with pytest.raises(ValueError):
        choice.demand_good()


@given(st.lists(st.text("0123456789.v-+abc", max_size=30), max_size=30))
def test_no_tag_of_strangers_stops_a_choice(tags: list[str]) -> None:
    for choice in (TagChoice(semver=">=0.0.0"), TagChoice("*"), TagChoice("*-a", "*")):
        assert set(at_once(chosen(choice, tags))) <= set(tags)


def test_the_repository_of_a_choice_is_named_as_any() -> None:
    assert WantedTags.of("nginx", TagChoice("1.*")).repository == Repository("docker.io", "library/nginx")


def at(hour: int, minute: int, day: int = 1) -> float:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("cron", "now", "due"),
    [
        ("0 3 * * *", at(2, 59), at(3, 0)),
        ("0 3 * * *", at(3, 0), at(3, 0, 2)),
        ("*/15 * * * *", at(3, 1), at(3, 15)),
        ("30 4 * * MON", at(5, 0), at(4, 30, 2)),
    ],
)
def test_a_schedule_is_crons(cron: str, now: float, due: float) -> None:
    assert next_time(demand_cron(cron), now) == due


@pytest.mark.parametrize("written", ["", "daily", "@daily", "0 3 * *", "0 0 3 * * *", "61 * * * *", "0 0 31 2 *"])
def test_what_is_no_schedule_or_never_comes_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        demand_cron(written)
