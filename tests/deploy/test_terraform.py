"""What the Terraform module renders, by Terraform itself: a configuration that Entrepot takes, rights that it needs, a
first boot that installs what was pinned. Without its provider, for nothing here asks AWS."""

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from proxy.config import load

DEPLOY = Path(__file__).parents[2] / "deploy"
MODULE = DEPLOY / "aws" / "terraform"
UNIT = DEPLOY / "entrepot.service"
ARN = "arn:aws:ecr:us-east-1:123456789012:repository/team/*"
ROLE = "arn:aws:iam::210987654321:role/entrepot-pull"
OWN = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
OTHER = "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
GIVEN = {"bundle_url": "https://files.test/entrepot.tar", "bundle_sha256": "0f" * 32, "repository_arns": [ARN]}

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="needs terraform")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """The module, less what needs the provider."""
    module = tmp_path / "deploy" / "aws" / "terraform"
    module.mkdir(parents=True)
    shutil.copy(UNIT, tmp_path / "deploy")
    for name in ("variables.tf", "user-data.sh"):
        shutil.copy(MODULE / name, module)
    text = "".join((MODULE / name).read_text() for name in ("iam.tf", "instance.tf"))
    blocks = [block for block in re.findall(r"(?ms)^locals \{$.*?^\}$", text) if "data.aws_" not in block]
    assert len(blocks) == 2
    (module / "locals.tf").write_text("\n".join(blocks))
    return module


def said(place: Path, expression: str, **variables: Any) -> str:
    """What Terraform answers, or refuses with."""
    (place / "given.auto.tfvars.json").write_text(json.dumps(GIVEN | variables))
    quiet = {**os.environ, "CHECKPOINT_DISABLE": "1", "TF_CLI_CONFIG_FILE": os.devnull, "TF_DATA_DIR": str(place / "t")}
    needed = {
        "vpc_id": "v",
        "subnet_id": "s",
        "endpoint_subnet_ids": [],
        "route_table_ids": [],
        "client_cidr_blocks": [],
    }
    (place / "needed.auto.tfvars.json").write_text(json.dumps(needed))
    done = subprocess.run(
        ["terraform", "console"],
        cwd=place,
        env=quiet,
        input=expression,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout if done.returncode == 0 else done.stdout + done.stderr


def rendered(place: Path, expression: str, **variables: Any) -> Any:
    return json.loads(json.loads(said(place, f"jsonencode({expression})", **variables)))


UPSTREAMS: list[dict[str, Any]] = [
    {"public.ecr.aws": {}},
    {OWN: {}},
    {OWN: {"push_times": True}},
    {OWN: {}, OTHER: {"auth": {"type": "ecr", "role_arn": ROLE, "external_id": "word"}, "max_size": "20GiB"}},
    {"public.ecr.aws": {"auth": {"type": "ecr-public"}}},
    {"*.dkr.ecr.us-east-1.amazonaws.com": {}, "docker.io": {}},
    {"ecr.test": {"url": "https://registry.test", "auth": {"type": "ecr", "region": "us-east-1"}}},
]
ALWAYS = ["iam-pull", "iam-optional-tags-list", "iam-optional-tag-immutability"]
DOCUMENTS = [
    [],
    ALWAYS,
    [*ALWAYS, "iam-optional-push-times"],
    [*ALWAYS, "iam-optional-assume-role"],
    ["iam-optional-ecr-public"],
    ALWAYS,
    ALWAYS,
]


@pytest.mark.parametrize("upstreams", UPSTREAMS, ids="+".join)
def test_the_configuration_is_one_that_entrepot_takes(place: Path, tmp_path: Path, upstreams: dict[str, Any]) -> None:
    file = tmp_path / "entrepot.yaml"
    file.write_text(rendered(place, "local.settings", upstreams=upstreams, cache_size_gib=333, port=5443))
    loaded = load(file, {"ENTREPOT_CACHE_PATH": "/var/cache/entrepot"})
    assert loaded.warnings == ()
    assert (str(loaded.settings.listen), loaded.settings.cache.max_size) == ("0.0.0.0:5443", 299 << 30)
    assert set(loaded.settings.upstreams) == set(upstreams)
    assert yaml.safe_load(file.read_text())["upstreams"] == upstreams


@pytest.mark.parametrize(("upstreams", "documents"), list(zip(UPSTREAMS, DOCUMENTS, strict=True)))
def test_the_role_may_do_what_the_upstreams_call_and_no_more(
    place: Path, upstreams: dict[str, Any], documents: list[str]
) -> None:
    """The same statements as in the files for those without Terraform."""
    expected = {}
    for name in documents:
        for statement in json.loads((DEPLOY / "aws" / f"{name}.json").read_text())["Statement"]:
            actions = statement["Action"]
            resource = {"sts:AssumeRole": [ROLE]}.get(str(actions), ["*"] if statement["Resource"] == "*" else [ARN])
            expected[statement["Sid"]] = ([actions] if isinstance(actions, str) else actions, resource)
    policy = rendered(place, "local.policy", upstreams=upstreams)
    assert {each["Sid"]: (each["Action"], each["Resource"]) for each in policy["Statement"]} == expected
    assert all(each["Effect"] == "Allow" for each in policy["Statement"])


def test_what_may_be_left_out_is_a_variable(place: Path) -> None:
    chosen = {"tags_list": False, "tag_immutability": False, "pull_through_rules": True}
    policy = rendered(place, "local.policy", upstreams={OWN: {}}, **chosen)
    assert [each["Sid"] for each in policy["Statement"]] == ["EcrToken", "EcrPull", "EcrPullThroughCacheRules"]


def test_the_first_boot_installs_the_unit_of_this_folder_the_settings_and_what_was_pinned(place: Path) -> None:
    upstreams = {"quay.io": {"auth": {"type": "basic", "username": "a'b$(touch /x)", "password_env": "${HUB}"}}}
    script = rendered(place, "local.user_data", upstreams=upstreams)
    assert len(script) < 16384, "the most that EC2 takes"
    subprocess.run(["sh", "-n"], input=script, text=True, check=True)
    files = {
        name: base64.b64decode(content)
        for content, name in re.findall(r"^echo '([A-Za-z0-9+/=]+)' \| base64 --decode > (\S+)$", script, re.MULTILINE)
    }
    assert files["/etc/systemd/system/entrepot.service"] == UNIT.read_bytes()
    assert yaml.safe_load(files["/etc/entrepot.yaml"])["upstreams"] == upstreams
    assert f"echo '{'0f' * 32}  /root/entrepot.tar' | sha256sum --check" in script
    (install,) = re.findall(r"^\S*pip install .*$", script, re.MULTILINE)
    assert "--no-index" in install
    order = [script.index(step) for step in ("sha256sum --check", "pip install", "config check", "systemctl enable")]
    assert order == sorted(order)


def test_unit_and_first_boot_speak_of_the_same_places(place: Path) -> None:
    script, unit = rendered(place, "local.user_data"), UNIT.read_text()
    assert "ExecStart=/opt/entrepot/bin/entrepot serve --config /etc/entrepot.yaml\n" in unit
    assert "python3 -m venv /opt/entrepot\n" in script
    assert "DynamicUser=yes\nCacheDirectory=entrepot\n" in re.sub(r"(?m)^#.*\n", "", unit)
    assert "mount /var/cache/private/entrepot\n" in script


@pytest.mark.parametrize(
    "wrong",
    [
        {"bundle_sha256": "latest"},
        {"bundle_sha256": "0F" * 32},
        {"bundle_url": "http://files.test/entrepot.tar"},
        {"bundle_url": "https://files.test/'; reboot #"},
        {"port": 80},
    ],
    ids=str,
)
def test_what_would_run_as_root_unpinned_is_refused(place: Path, wrong: dict[str, Any]) -> None:
    assert "Invalid value for variable" in said(place, "local.user_data", **wrong)
