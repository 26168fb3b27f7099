"""ECR lifecycle policies: which images of a repository are to be let go, by which rule. A pure decision.

``parse_policy`` (what AWS accepts) or ``parse_extended_policy`` (what a cache wants besides) → ``Policy``;
``images_from_json`` or the catalog → ``Image``; ``evaluate`` → ``Decision``; ``preview_json`` → ECR's preview.
Rules: Amazon ECR user guide, "Lifecycle policy properties in Amazon ECR" and "Examples of lifecycle policies".
"""

from proxy.core.lifecycle.evaluate import Decision, by_repository, evaluate, evaluate_all
from proxy.core.lifecycle.faults import ImagesInvalid, PolicyFault, PolicyInvalid
from proxy.core.lifecycle.images import Image, images_from_json
from proxy.core.lifecycle.parse import parse_extended_policy, parse_policy, policy_parser
from proxy.core.lifecycle.policy import Action, CountType, CountUnit, Policy, Rule, Selection, StorageClass, TagStatus
from proxy.core.lifecycle.preview import preview_json

__all__ = [
    "Action",
    "CountType",
    "CountUnit",
    "Decision",
    "Image",
    "ImagesInvalid",
    "Policy",
    "PolicyFault",
    "PolicyInvalid",
    "Rule",
    "Selection",
    "StorageClass",
    "TagStatus",
    "by_repository",
    "evaluate",
    "evaluate_all",
    "images_from_json",
    "parse_extended_policy",
    "parse_policy",
    "policy_parser",
    "preview_json",
]
