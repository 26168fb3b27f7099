"""Decisions in the form of ECR's GetLifecyclePolicyPreview, ready for JSON. Times are epoch seconds, as in its API."""

from collections.abc import Collection, Sequence

from proxy.core.lifecycle.evaluate import Decision
from proxy.core.lifecycle.policy import Action, StorageClass

Json = dict[str, object]


def preview_json(decisions: Sequence[Decision], repositories: Collection[str] = ()) -> Json:
    """``previewResults`` and ``summary``. A result names its repository where there are several, among the decisions or
    among ``repositories``, those that were looked at.
    """
    several = len({*repositories, *(decision.image.repository for decision in decisions)}) > 1
    expiring = sum(decision.action is Action.EXPIRE for decision in decisions)
    transitioning = len(decisions) - expiring
    counts = [{"targetStorageClass": "ARCHIVE", "imageTotalCount": transitioning}] if transitioning else []
    return {
        "previewResults": [({**_named(each), **_result(each)} if several else _result(each)) for each in decisions],
        "summary": {"expiringImageTotalCount": expiring, "transitioningImageTotalCounts": counts},
    }


def _named(decision: Decision) -> Json:
    return {"repositoryName": decision.image.repository}


def _result(decision: Decision) -> Json:
    image = decision.image
    action: Json = {"type": decision.action.upper()}
    if decision.action is Action.TRANSITION:
        action["targetStorageClass"] = StorageClass.ARCHIVE.upper()
    return {
        "imageDigest": image.digest,
        "imageTags": list(image.tags),
        "imagePushedAt": image.pushed_at,
        "action": action,
        "appliedRulePriority": decision.rule_priority,
        "storageClass": image.storage_class.upper(),
    }
