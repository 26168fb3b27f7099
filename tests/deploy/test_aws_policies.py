"""What the files of deploy/aws grant: pulls and nothing else."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2
import pytest

AWS = Path(__file__).parents[2] / "deploy" / "aws"
POLICIES = sorted(AWS.glob("*.json"))
MODULE = sorted((AWS / "terraform").glob("*.tf"))

ALLOWED = {
    "iam-pull.json": {"ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
    "iam-optional-tags-list.json": {"ecr:ListImages"},
    "iam-optional-tag-immutability.json": {"ecr:DescribeRepositories"},
    "iam-optional-push-times.json": {"ecr:DescribeImages"},
    "iam-optional-lifecycle-import.json": {"ecr:GetLifecyclePolicy"},
    "iam-optional-ecr-public.json": {"ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"},
    "iam-optional-pull-through-rules.json": {"ecr:BatchImportUpstreamImage", "ecr:CreateRepository"},
    "iam-optional-assume-role.json": {"sts:AssumeRole"},
    "trust-optional-assume-role.json": {"sts:AssumeRole"},
    "repository-optional-cross-account.json": {"ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"},
    "endpoint-s3.json": {"s3:GetObject"},
}
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"}
"""Actions that IAM cannot narrow to a resource (Service Authorization Reference)."""


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def statements(policy: Path) -> Iterator[dict[str, Any]]:
    document = json.loads(policy.read_text())
    assert document["Version"] == "2012-10-17"
    yield from document["Statement"]


def test_every_policy_is_accounted_for() -> None:
    assert {policy.name for policy in POLICIES} == set(ALLOWED)


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_a_policy_grants_what_it_is_named_for_and_no_more(policy: Path) -> None:
    granted = {action for statement in statements(policy) for action in listed(statement["Action"])}
    assert granted == ALLOWED[policy.name]
    for statement in statements(policy):
        assert statement["Effect"] == "Allow"
        assert not {"NotAction", "NotResource", "NotPrincipal"} & statement.keys()


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_only_what_cannot_be_narrowed_is_granted_on_everything(policy: Path) -> None:
    for statement in statements(policy):
        actions = set(listed(statement["Action"]))
        if "*" in listed(statement.get("Resource", "")):
            assert actions <= WITHOUT_RESOURCE
        else:
            assert not actions & WITHOUT_RESOURCE


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.name)
def test_no_statement_trusts_the_whole_world(policy: Path) -> None:
    for statement in statements(policy):
        if policy.name == "endpoint-s3.json":
            assert statement["Principal"] == "*"  # an endpoint policy bounds what identities may do, it grants nothing
        elif "Principal" in statement:
            assert listed(statement["Principal"]["AWS"]) == ["arn:aws:iam::PROXY_ACCOUNT:role/entrepot"]


def module() -> dict[str, list[Any]]:
    """All blocks of the module, by kind."""
    blocks: dict[str, list[Any]] = {}
    for file in MODULE:
        for kind, found in hcl2.loads(file.read_text()).items():
            blocks.setdefault(kind, []).extend(found if isinstance(found, list) else [found])
    return blocks


def resources(kind: str) -> dict[str, Any]:
    found = [block[key] for block in module()["resource"] for key in block if bare(key) == kind]
    return {bare(name): body for each in found for name, body in each.items()}


def bare(text: Any) -> str:
    return str(text).strip('"')


def test_the_module_grants_the_same_actions_as_the_policies() -> None:
    text = (AWS / "terraform" / "iam.tf").read_text()
    found = re.findall(r"wanted +=.*\n\s+sid += \"(\w+)\"\n\s+actions +=(.*)\n\s+resources +=(.*)\n", text)
    module = {sid: (set(re.findall(r'"(.+?)"', actions)), resources.strip()) for sid, actions, resources in found}
    files = {
        statement["Sid"]: set(listed(statement["Action"]))
        for policy in POLICIES
        if policy.name.startswith("iam-") and policy.name != "iam-optional-lifecycle-import.json"  # a person's, not its
        for statement in statements(policy)
    }
    assert {sid: actions for sid, (actions, _) in module.items()} == files
    for actions, resources in module.values():
        assert (resources == '["*"]') == (actions <= WITHOUT_RESOURCE)


def test_the_module_makes_the_endpoints_that_ecr_needs() -> None:
    endpoints = resources("aws_vpc_endpoint")
    assert bare(endpoints["s3"]["vpc_endpoint_type"]) == "Gateway"
    assert bare(endpoints["interface"]["vpc_endpoint_type"]) == "Interface"
    assert endpoints["interface"]["private_dns_enabled"] is True
    services = (AWS / "terraform" / "network.tf").read_text()
    assert '"ecr.api", "ecr.dkr"' in services


def test_the_instance_takes_imdsv2_only_and_its_disks_are_encrypted() -> None:
    (instance,) = resources("aws_instance").values()
    (metadata,) = instance["metadata_options"]
    assert bare(metadata["http_tokens"]) == "required"
    for disk in (*instance["root_block_device"], *instance["ebs_block_device"]):
        assert disk["encrypted"] is True


def test_every_variable_is_described_and_used() -> None:
    text = "".join(file.read_text() for file in MODULE)
    declared = {bare(name): body for block in module()["variable"] for name, body in block.items()}
    assert all(body["description"] for body in declared.values())
    assert {name for name in declared if f"var.{name}" not in text} == set()
    assert set(re.findall(r"var\.(\w+)", text)) == set(declared)


@pytest.mark.skipif(shutil.which("terraform") is None, reason="needs terraform")
def test_the_module_is_formatted() -> None:
    quiet = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull}
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", "-recursive", str(AWS)],
        check=False,
        capture_output=True,
        text=True,
        env=quiet,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_first_boot_script_is_a_shell_script() -> None:
    script = (AWS / "terraform" / "user-data.sh").read_text()
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    assert set(re.findall(r"\$\{(\w+)}", script)) == {"bundle_url", "bundle_sha256", "settings", "unit"}
