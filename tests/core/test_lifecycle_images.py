"""Lists of images as they are read, and decisions as they are shown."""

import json
from collections.abc import Callable

import pytest

from proxy.core.lifecycle import (
    Action,
    Decision,
    Image,
    ImagesInvalid,
    StorageClass,
    by_repository,
    evaluate_all,
    images_from_json,
    parse_policy,
    preview_json,
)

PLAIN: dict[str, object] = {"imageDigest": "sha256:1", "imagePushedAt": 1_700_000_000}


def images_of(*entries: object) -> list[Image]:
    return images_from_json(json.dumps(entries))


def test_an_image_has_every_member_that_a_policy_may_ask_about() -> None:
    entry = {
        "registryId": "123456789012",
        "repositoryName": "team/app",
        "imageDigest": "sha256:1",
        "imageTags": ["v1", "latest"],
        "imagePushedAt": 1_700_000_000,
        "lastRecordedPullTime": "2023-11-14T22:13:21Z",
        "imageSizeInBytes": 7,
        "imageManifestMediaType": "application/vnd.oci.image.index.v1+json",
        "references": ["sha256:2"],
        "subject": "sha256:3",
        "storageClass": "ARCHIVE",
        "lastActivatedAt": "2023-11-15T00:13:22.5+02:00",
        "lastArchivedAt": 1_700_000_003.25,
    }
    assert images_of(entry) == [
        Image(
            "team/app",
            "sha256:1",
            ("v1", "latest"),
            1_700_000_000.0,
            pulled_at=1_700_000_001.0,
            size=7,
            media_type="application/vnd.oci.image.index.v1+json",
            references=("sha256:2",),
            subject="sha256:3",
            storage_class=StorageClass.ARCHIVE,
            activated_at=1_700_000_002.5,
            archived_at=1_700_000_003.25,
        )
    ]


def test_only_the_digest_and_the_time_of_the_push_are_required() -> None:
    nulls = dict.fromkeys(["imageTags", "lastRecordedPullTime", "imageSizeInBytes", "references", "storageClass"])
    assert images_of({**PLAIN, **nulls}) == [Image("", "sha256:1", (), 1_700_000_000.0)]


def test_the_output_of_aws_ecr_describe_images_is_read_as_it_is() -> None:
    archived = {"imageStatus": "ARCHIVED", "subjectManifestDigest": "sha256:3"}
    [image] = images_from_json(json.dumps({"imageDetails": [{**PLAIN, **archived}], "nextToken": "x"}))
    assert (image.storage_class, image.subject) == (StorageClass.ARCHIVE, "sha256:3")
    [active] = images_of({**PLAIN, "imageStatus": "ACTIVE"})
    assert active.storage_class is StorageClass.STANDARD


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("imageDigest", None, "is required"),
        ("imageDigest", 5, "must be a string, not integer"),
        ("imagePushedAt", None, "is required"),
        ("imagePushedAt", True, "epoch seconds or ISO 8601 with a zone"),
        ("imagePushedAt", "yesterday", "epoch seconds or ISO 8601 with a zone"),
        ("imagePushedAt", "2023-11-14T22:13:21", "epoch seconds or ISO 8601 with a zone"),
        ("lastRecordedPullTime", 10**400, "epoch seconds or ISO 8601 with a zone"),
        ("imageTags", "v1", "must be a list of strings, not string"),
        ("imageSizeInBytes", -1, "must be a number of bytes"),
        ("imageSizeInBytes", 1.5, "must be a number of bytes"),
        ("storageClass", "glacier", "must be one of standard, archive"),
        ("subject", [], "must be a string, not array"),
    ],
)
def test_a_wrong_image_is_named_by_its_index_and_field(field: str, value: object, reason: str) -> None:
    with pytest.raises(ImagesInvalid) as caught:
        images_of(PLAIN, {**PLAIN, "imageDigest": "sha256:2", field: value})
    assert (caught.value.index, caught.value.field) == (1, field)
    assert reason in caught.value.reason
    assert str(caught.value) == f"images[1].{field}: {caught.value.reason}"


def test_a_wrong_entry_of_a_list_is_named_by_its_place() -> None:
    with pytest.raises(ImagesInvalid, match=r"images\[0\]\.imageTags\[1\]: must be a string that is not empty"):
        images_of({**PLAIN, "imageTags": ["v1", ""]})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "images: not readable as JSON"),
        ("[" * 100_000, "images: not readable as JSON: nested too deeply"),
        ('{"images": []}', "images: must be a list, not object"),
        ('["sha256:1"]', "images[0]: must be an object, not string"),
        ('[{"imageDigest": "a", "imageDigest": "b"}]', "images[0].imageDigest: is given more than once"),
        ('[{"imageDigest": "a", "imagePushedAt": NaN}]', "images: not readable as JSON: NaN is not JSON"),
        ('[{"imageDigest": "a", "imagePushedAt": 1e999}]', "images[0].imagePushedAt: must be epoch seconds"),
    ],
    ids=["empty", "deep", "not a list", "not an object", "twice", "not a number", "endless"],
)
def test_what_is_no_list_of_images_is_refused(text: str, says: str) -> None:
    with pytest.raises(ImagesInvalid) as caught:
        images_from_json(text)
    assert str(caught.value).startswith(says)


def test_a_digest_is_once_in_a_repository_but_may_be_in_two() -> None:
    assert len(images_of({**PLAIN, "repositoryName": "a"}, {**PLAIN, "repositoryName": "b"})) == 2
    with pytest.raises(ImagesInvalid, match=r"images\[1\].imageDigest: is in the list twice"):
        images_of(PLAIN, PLAIN)


def decision(name: str, action: Action, repository: str = "team/app") -> Decision:
    return Decision(Image(repository, name, ("v1",), 5.0), action, 3)


def test_a_preview_has_the_fields_of_ecr() -> None:
    preview = preview_json([decision("sha256:1", Action.EXPIRE), decision("sha256:2", Action.TRANSITION)])
    common = {"imageTags": ["v1"], "imagePushedAt": 5.0, "appliedRulePriority": 3, "storageClass": "STANDARD"}
    assert preview == {
        "previewResults": [
            {"imageDigest": "sha256:1", "action": {"type": "EXPIRE"}, **common},
            {"imageDigest": "sha256:2", "action": {"type": "TRANSITION", "targetStorageClass": "ARCHIVE"}, **common},
        ],
        "summary": {
            "expiringImageTotalCount": 1,
            "transitioningImageTotalCounts": [{"targetStorageClass": "ARCHIVE", "imageTotalCount": 1}],
        },
    }


def test_a_preview_without_decisions_is_empty() -> None:
    summary = {"expiringImageTotalCount": 0, "transitioningImageTotalCounts": []}
    assert preview_json([]) == {"previewResults": [], "summary": summary}


@pytest.mark.parametrize(
    "preview",
    [
        lambda: preview_json([decision("d", Action.EXPIRE, "a"), decision("d", Action.EXPIRE, "b")]),
        lambda: preview_json([decision("d", Action.EXPIRE, "a")], repositories={"a", "b"}),
    ],
    ids=["decided on", "looked at"],
)
def test_results_name_their_repository_where_there_are_several(preview: Callable[[], dict[str, object]]) -> None:
    results = preview()["previewResults"]
    assert isinstance(results, list)
    assert [each["repositoryName"] for each in results] == ["a", "b"][: len(results)]


def test_from_text_to_preview() -> None:
    selection = {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": 1}
    policy = parse_policy(
        json.dumps({"rules": [{"rulePriority": 1, "selection": selection, "action": {"type": "expire"}}]})
    )
    images = images_of(
        {"repositoryName": "a", "imageDigest": "new", "imagePushedAt": 2},
        {"repositoryName": "a", "imageDigest": "old", "imagePushedAt": 1},
        {"repositoryName": "b", "imageDigest": "only", "imagePushedAt": 1},
    )
    decisions = [each for one in evaluate_all(policy, by_repository(images), now=9.0) for each in one]
    [result] = json.loads(json.dumps(preview_json(decisions, {"a", "b"})))["previewResults"]
    assert (result["repositoryName"], result["imageDigest"]) == ("a", "old")
