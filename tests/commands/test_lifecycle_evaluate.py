"""``entrepot lifecycle evaluate``: files in, decisions out."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from proxy.cli import app

DAY = 86_400
NOW = 1_700_000_000


def write(folder: Path, policy: Any, images: Any) -> list[str]:
    (folder / "policy.json").write_text(json.dumps(policy))
    (folder / "images.json").write_text(json.dumps(images))
    return ["--policy", str(folder / "policy.json"), "--images", str(folder / "images.json"), "--now", str(NOW)]


def evaluate(*words: str) -> Result:
    return CliRunner().invoke(app, ["lifecycle", "evaluate", *words])


def untagged(days: int, count_type: str = "sinceImagePushed") -> dict[str, Any]:
    selection = {"tagStatus": "untagged", "countType": count_type, "countUnit": "days", "countNumber": days}
    rule = {"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}
    return {"rules": [{**rule, "description": "let go what has no tag and is older than so many days"}]}


IMAGES = [
    {"repositoryName": "team/app", "imageDigest": "sha256:a", "imagePushedAt": NOW - 15 * DAY},
    {"repositoryName": "team/app", "imageDigest": "sha256:b", "imagePushedAt": NOW - 14 * DAY},
    {"repositoryName": "team/app", "imageDigest": "sha256:c", "imagePushedAt": NOW - 30 * DAY, "imageTags": ["v1"]},
]


def test_decisions_come_in_the_form_of_ecr(tmp_path: Path) -> None:
    done = evaluate(*write(tmp_path, untagged(14), IMAGES), "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout) == {
        "previewResults": [
            {
                "imageDigest": "sha256:a",
                "imageTags": [],
                "imagePushedAt": NOW - 15 * DAY,
                "action": {"type": "EXPIRE"},
                "appliedRulePriority": 1,
                "storageClass": "STANDARD",
            }
        ],
        "summary": {"expiringImageTotalCount": 1, "transitioningImageTotalCounts": []},
    }


def test_people_get_a_table_with_the_sum_below(tmp_path: Path) -> None:
    done = evaluate(*write(tmp_path, untagged(14), IMAGES))
    assert done.exit_code == 0
    header, row, summary = done.stdout.splitlines()
    assert header.split() == ["REPOSITORY", "IMAGE", "TAGS", "PUSHED", "RULE", "ACTION", "SIZE"]
    assert row.split()[:3] == ["team/app", "sha256:a", "-"]
    assert summary == "1 of 3 images"


def test_where_nothing_goes_there_is_no_table(tmp_path: Path) -> None:
    assert evaluate(*write(tmp_path, untagged(99), IMAGES)).stdout == "0 of 3 images\n"


def test_the_time_can_be_given(tmp_path: Path) -> None:
    words = write(tmp_path, untagged(14), IMAGES)[:-1]
    assert evaluate(*words, "2023-11-16T00:00:00Z").stdout.endswith("2 of 3 images\n")
    wrong = evaluate(*words, "yesterday")
    assert (wrong.exit_code, "--now" in wrong.stderr) == (2, True)


def test_a_bad_policy_is_refused_with_every_fault(tmp_path: Path) -> None:
    policy = untagged(0)
    policy["rules"][0]["rulePriority"] = 0
    done = evaluate(*write(tmp_path, policy, IMAGES))
    assert done.exit_code == 2
    assert [word in done.stderr for word in ("rulePriority", "selection.countNumber")] == [True, True]
    assert not done.stdout


def test_a_bad_list_of_images_is_refused_with_its_place(tmp_path: Path) -> None:
    done = evaluate(*write(tmp_path, untagged(1), [{"imageDigest": "sha256:a"}]))
    assert (done.exit_code, "images[0].imagePushedAt" in done.stderr) == (2, True)


def test_extensions_are_asked_for(tmp_path: Path) -> None:
    words = write(tmp_path, untagged(14, "sinceImagePulled"), IMAGES)
    assert evaluate(*words).exit_code == 2
    assert evaluate(*words, "--extensions").exit_code == 0


@pytest.mark.parametrize("missing", ["policy.json", "images.json"])
def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path, missing: str) -> None:
    words = write(tmp_path, untagged(14), IMAGES)
    (tmp_path / missing).unlink()
    assert evaluate(*words).exit_code == 2
