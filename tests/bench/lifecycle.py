"""How long a lifecycle policy takes: one million images in ten thousand repositories, five rules, one core.

Run: python -m tests.bench.lifecycle
"""

import json
import resource
import time
from collections.abc import Iterator

from proxy.core.lifecycle import Image, evaluate_all, parse_policy

REPOSITORIES = 10_000
IMAGES = 100
DAY = 86_400.0
NOW = 20_000 * DAY

_EXPIRE = {"type": "expire"}
_SELECTIONS: list[dict[str, object]] = [
    {"tagStatus": "tagged", "tagPatternList": ["prod*"], "countType": "imageCountMoreThan", "countNumber": 9999},
    {"tagStatus": "tagged", "tagPatternList": ["v*.*-rc*"], "countType": "imageCountMoreThan", "countNumber": 5},
    {
        "tagStatus": "tagged",
        "tagPrefixList": ["dev-", "build-"],
        "countType": "sinceImagePushed",
        "countUnit": "days",
        "countNumber": 7,
    },
    {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14},
    {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 60},
]
_TAGS = [("prod-1",), ("v1.2-rc3", "latest"), ("dev-a", "build-7"), (), ("v1.2",)]


def repositories() -> Iterator[list[Image]]:
    """Every tenth image is an index with two children, every twentieth a signature."""
    for number in range(REPOSITORIES):
        name = f"team-{number % 100}/app-{number}"
        yield [_image(name, place) for place in range(IMAGES)]


def _image(repository: str, place: int) -> Image:
    children = (_digest(place + 1), _digest(place + 2)) if place % 10 == 0 else ()
    subject = _digest(place - 1) if place % 20 == 5 else None
    pushed_at = NOW - (place * 37 % IMAGES) * DAY / 3
    return Image(repository, _digest(place), _TAGS[place % 5], pushed_at, references=children, subject=subject)


def _digest(place: int) -> str:
    return f"sha256:{place:064x}"


def main() -> None:
    rules = [
        {"rulePriority": priority, "selection": selection, "action": _EXPIRE}
        for priority, selection in enumerate(_SELECTIONS, 1)
    ]
    policy = parse_policy(json.dumps({"rules": rules}))
    spent, acted_on = 0.0, 0
    for images in repositories():
        began = time.process_time()
        for decisions in evaluate_all(policy, [images], NOW):
            acted_on += len(decisions)
        spent += time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{REPOSITORIES * IMAGES} images, {REPOSITORIES} repositories, {len(rules)} rules, {acted_on} acted on")
    print(f"evaluator: {spent:.2f} CPU seconds; peak resident memory of the process: {peak:.0f} MiB")


if __name__ == "__main__":
    main()
