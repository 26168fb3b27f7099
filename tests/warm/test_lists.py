"""Lists of other programs, as those print them."""

import json
from typing import Any

import pytest

from proxy.warm.lists import SIZE_LIMIT, ImageList, ListRefused, read_list

COMPOSE = """\
x-web: &web
  image: nginx:1.27
  restart: always
services:
  web:
    <<: *web
    ports: !reset []
  cache:
    image: "redis:7"
  own:
    build: .
    image: registry.example.com/own:dev
  chosen:
    image: postgres:${VERSION:-16}
"""
KUBERNETES = """\
# Source: chart/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {image: not-this-one}}
spec:
  template:
    spec:
      initContainers:
        - {name: wait, image: busybox}
      containers:
        - name: web
          image: ghcr.io/team/web@sha256:%s
      volumes:
        - {name: model, image: {reference: quay.io/team/model:v2}}
---
apiVersion: batch/v1
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: night, image: "ghcr.io/team/night:1"}]}}}}}
---
""" % ("a" * 64)


WEB = f"ghcr.io/team/web@sha256:{'a' * 64}"


def pod(*images: str) -> dict[str, Any]:
    status = {"containerStatuses": [{"image": "sha256:1234", "imageID": "docker-pullable://x@sha256:1234"}]}
    containers = [{"name": "a", "image": image, "env": [{"name": "IMAGE", "value": "no"}]} for image in images]
    return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}, "status": status}


def docker(repository: str, tag: str, digest: str = "<none>") -> str:
    return json.dumps({"Containers": "N/A", "Digest": digest, "ID": "0123", "Repository": repository, "Tag": tag})


@pytest.mark.parametrize(
    ("content", "images"),
    [
        ("alpine\n\n  q.io/a/b:1  # second\n# none\nnginx:>=1.26 <2\n", ["alpine", "q.io/a/b:1", "nginx:>=1.26 <2"]),
        ("localhost:5000/app:v1\r\nalpine\r\nalpine", ["localhost:5000/app:v1", "alpine"]),
        ("\ufeffalpine", ["alpine"]),
        ("- alpine\n- 'nginx:1'\n", ["alpine", "nginx:1"]),
        (json.dumps({"apiVersion": "v1", "kind": "List", "items": [pod("a:1", "b:2"), pod("a:1")]}), ["a:1", "b:2"]),
        (json.dumps(pod("a:1")), ["a:1"]),
        (f"{docker('alpine', '3')}\n{docker('quay.io/a', '<none>', 'sha256:1')}\n", ["alpine:3", "quay.io/a@sha256:1"]),
        (docker("alpine", "3"), ["alpine:3"]),
        (json.dumps([{"Names": ["docker.io/library/alpine:3"]}, {"Names": None, "RepoDigests": ["q.io/a@sha256:1"]}]),
         ["docker.io/library/alpine:3", "q.io/a@sha256:1"]),
        (json.dumps({"images": [{"repoTags": ["q.io/a:1"], "repoDigests": ["q.io/a@sha256:1"]}]}), ["q.io/a:1"]),
        (json.dumps(["alpine", "nginx:1"]), ["alpine", "nginx:1"]),
        (COMPOSE, ["nginx:1.27", "redis:7"]),
        (KUBERNETES, ["busybox", WEB, "quay.io/team/model:v2", "ghcr.io/team/night:1"]),
        ("", []),
    ],
    ids=["lines", "windows", "mark", "list", "pods", "pod", "docker", "one", "podman", "crictl", "json", "compose",
         "kubernetes", "empty"],
)  # fmt: skip
def test_a_list_is_known_by_what_it_looks_like(content: str, images: list[str]) -> None:
    assert sorted(read_list(content.encode()).images) == sorted(images)


def test_what_has_no_name_or_comes_from_nowhere_is_passed_over_and_said() -> None:
    compose = read_list(COMPOSE.encode())
    assert [line.partition(": ")[0] for line in compose.passed_over] == [
        "registry.example.com/own:dev",
        "postgres:${VERSION:-16}",
    ]
    listed = read_list(f"{docker('<none>', '<none>')}\n{docker('alpine', '<none>')}".encode())
    assert listed == ImageList((), ("0123: it has no name", "alpine: it has no tag"))


def bomb(levels: int = 30) -> str:
    lines = ["apiVersion: v1", "l0: &l0 {containers: [{image: 'a:1'}]}"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


def test_aliases_are_followed_once() -> None:
    assert read_list(bomb().encode()).images == ("a:1",)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"items": [', "JSON"),
        (b'{"a":' * 100_000, "JSON"),
        (b'{"a": 1}\n{"b": ', "JSON"),
        (b"kind: [", "YAML"),
        (b"kind: " + b"[" * 100_000, "YAML"),
        (b"services: {a: {image: b}}\nservices: !!python/object:os.system {}\n  x", "YAML"),
        (b"kind: &k {a: 1}\nb: {<<: [" + b"*k, " * 2_000 + b"]}", "<<"),
        (b"\xff\xfe", "UTF-8"),
        (bytes(SIZE_LIMIT + 1), "MiB"),
    ],
    ids=["half", "deep", "lines", "yaml", "deep yaml", "tags", "merged", "encoding", "long"],
)
def test_what_cannot_be_read_is_refused_in_words(content: bytes, why: str) -> None:
    with pytest.raises(ListRefused, match=why):
        read_list(content)


def test_no_tag_of_yaml_makes_anything() -> None:
    assert read_list(b"services: {a: {image: !!python/object/apply:os.getcwd []}}").images == ()
