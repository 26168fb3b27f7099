"""``entrepot lifecycle import``: a policy as ECR has it becomes a file that the configuration takes."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

from proxy.cli import app
from tests.cast.aws import ACCOUNT, REGION, aws_credentials, moto
from tests.ports import free_port

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
OTHER = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com"
SECRET = "canary-secret-key"
SELECTION = {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 14}
RULE = {"rulePriority": 1, "description": "ältere", "selection": SELECTION, "action": {"type": "expire"}}
POLICY = {"rules": [RULE]}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Knows team/kept with a policy, and team/bare without."""
    with moto(tmp_path_factory.mktemp("moto")) as url:
        for name in ("team/kept", "team/bare"):
            order(url, "CreateRepository", repositoryName=name)
        order(url, "PutLifecyclePolicy", repositoryName="team/kept", lifecyclePolicyText=json.dumps(POLICY))
        yield url


def order(url: str, operation: str, **given: str) -> None:
    """As somebody with rights of their own gives it to ECR."""
    scope = f"testing/20260101/{REGION}/ecr/aws4_request"
    headers = {
        "Content-Type": "application/x-amz-json-1.1",
        "X-Amz-Target": f"AmazonEC2ContainerRegistry_V20150921.{operation}",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0",
    }
    request = urllib.request.Request(url, json.dumps({"registryId": ACCOUNT, **given}).encode(), headers)
    urllib.request.urlopen(request, timeout=20).close()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    aws_credentials(monkeypatch, tmp_path, SECRET)


class Office:
    """Where a person types; the configuration has these hosts as ECR upstreams."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.config = folder / "entrepot.yaml"
        self._endpoint = endpoint
        self.set_up(HOST)

    def set_up(self, *hosts: str, **more: Any) -> None:
        upstreams = {host: {"auth": {"type": "ecr", "endpoint_url": self._endpoint}} for host in hosts}
        settings = {"upstreams": {**upstreams, "docker.io": {}}, **more}
        self.config.write_text(yaml.safe_dump(settings))

    def imports(self, wanted: str, *words: str) -> Result:
        return self("lifecycle", "import", "--from-ecr", wanted, "--config", str(self.config), *words)

    def __call__(self, *words: str) -> Result:
        done = CliRunner().invoke(app, words)
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        assert "Traceback" not in done.output
        assert SECRET not in done.output
        return done


@pytest.fixture
def office(tmp_path: Path, aws: str) -> Office:
    return Office(tmp_path, aws)


@pytest.mark.parametrize("wanted", [f"{HOST}/team/kept", "team/kept"], ids=["by registry", "where one is ECR"])
def test_the_policy_is_said_as_json_and_nothing_else(office: Office, wanted: str) -> None:
    done = office.imports(wanted)
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == POLICY


def test_the_file_that_is_written_is_one_that_the_configuration_and_the_evaluator_take(
    office: Office, tmp_path: Path
) -> None:
    policy, images = tmp_path / "policy.json", tmp_path / "images.json"
    done = office.imports("team/kept", "--output", str(policy))
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{policy}: written; name it as a policy_file under lifecycle\n"
    assert json.loads(policy.read_text(encoding="utf-8")) == POLICY
    office.set_up(HOST, lifecycle=[{"repositories": ["*"], "policy_file": str(policy)}])
    assert office("config", "check", str(office.config)).exit_code == 0
    images.write_text(json.dumps([{"repositoryName": "team/kept", "imageDigest": "sha256:a", "imagePushedAt": 0}]))
    evaluated = office("lifecycle", "evaluate", "--policy", str(policy), "--images", str(images))
    assert evaluated.stdout.splitlines()[-1] == "1 of 1 images"


@pytest.mark.parametrize(
    ("repository", "words"),
    [("team/bare", "the repository has no lifecycle policy"), ("team/nobody", "there is no such repository")],
)
def test_what_ecr_does_not_have_is_named_and_nothing_is_written(
    office: Office, tmp_path: Path, repository: str, words: str
) -> None:
    done = office.imports(repository, "--output", str(tmp_path / "policy.json"))
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{repository}: ")
    assert words in done.stderr
    assert not (tmp_path / "policy.json").exists()


def test_without_credentials_it_says_where_they_could_come_from(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    done = office.imports("team/kept")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no AWS credentials found" in done.stderr
    assert "AWS_ACCESS_KEY_ID" in done.stderr


def test_where_aws_does_not_answer_it_says_what_a_vpc_needs(tmp_path: Path) -> None:
    done = Office(tmp_path, f"http://127.0.0.1:{free_port()}").imports("team/kept")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "AWS cannot be reached" in done.stderr
    assert "ecr.api" in done.stderr


@pytest.mark.parametrize(
    ("hosts", "wanted", "words"),
    [
        ((), "team/kept", "0 upstreams are private ECR"),
        ((HOST, OTHER), "team/kept", "2 upstreams are private ECR"),
        ((HOST,), f"{OTHER}/team/kept", "is no repository of a private ECR registry that is an upstream"),
        ((HOST,), f"{HOST}/", "is no repository of a private ECR registry that is an upstream"),
    ],
    ids=["no ECR", "which ECR", "another ECR", "no repository"],
)
def test_a_wish_that_means_no_repository_is_wrong_usage(
    office: Office, hosts: tuple[str, ...], wanted: str, words: str
) -> None:
    office.set_up(*hosts)
    done = office.imports(wanted)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("--from-ecr: ")
    assert words in done.stderr


def test_a_file_that_exists_is_left_as_it_is(office: Office, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text("written by hand")
    done = office.imports("team/kept", "--output", str(policy))
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"{policy} exists already" in done.stderr
    assert policy.read_text() == "written by hand"


def test_a_folder_that_is_not_there_is_named(office: Office, tmp_path: Path) -> None:
    policy = tmp_path / "nowhere" / "policy.json"
    done = office.imports("team/kept", "--output", str(policy))
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", f"{policy}: No such file or directory\n")
