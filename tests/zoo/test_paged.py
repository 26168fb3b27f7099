"""All tags of a repository, to the end and once each, by the links that Entrepot gives."""

import json

import pytest

from tests.scenarios.client import Reply
from tests.zoo.pulls import Pulls, base_path
from tests.zoo.registry import ScriptedRegistry

pytestmark = pytest.mark.asyncio(loop_scope="module")

TAGS = [f"v{number:04d}" for number in range(1250)]
MOST_PAGES = 40


@pytest.mark.parametrize("n", [None, 50, 10_000], ids=["no n", "n=50", "n=10000"])
async def test_whoever_follows_the_links_reads_every_tag_once(
    pulls: Pulls, registry: ScriptedRegistry, n: int | None
) -> None:
    name = registry.repository("many-tags")
    registry.put_tags(name, TAGS)
    path, read = f"{base_path(registry, name)}/tags/list{f'?n={n}' if n else ''}", list[str]()
    for _ in range(MOST_PAGES):
        reply = await pulls.get(path)
        assert reply.status == 200, reply
        page = json.loads(reply.body)
        assert n is None or len(page["tags"]) <= n
        read += page["tags"]
        onward = link_of(reply)
        if onward is None:
            break
        assert onward.startswith(f"{base_path(registry, name)}/tags/list?"), onward
        path = onward
    else:
        pytest.fail(f"no end after {MOST_PAGES} pages: {len(read)} tags read, {len(set(read))} different")
    assert sorted(read) == TAGS
    pages = registry.asked("tags")
    assert pages
    if n == 50 and registry.manners.paging.obeys_n:
        assert registry.shown["paged"]


def link_of(reply: Reply) -> str | None:
    link = reply.headers.get("link")
    return link.partition("<")[2].partition(">")[0] if link else None
