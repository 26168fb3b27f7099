"""Images out of what other programs list, recognised by what it looks like: lines, ``kubectl get pods -A -o json``,
``docker images --format json`` and what podman and crictl say instead, Compose and Kubernetes files in YAML or JSON.

Read with the rights of who types the command, in a process of its own. What is in it may still be anybody's: its size
is bounded, aliases of YAML are followed once, and nothing of it is more than a text.
"""

import json
import re
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

SIZE_LIMIT = 64 << 20  # bytes; the pods of thousands of nodes
_YAML_LIMIT = 16 << 20  # bytes
_MERGE = "tag:yaml.org,2002:merge"
_MERGED = 1_000
_KEY = re.compile(r"""(?:---(?:\s|$)|(?:- +)?(?:[A-Za-z_][\w./-]*|"[^"]*"|'[^']*')\s*:(?:\s|$))""", re.ASCII)
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_NONE = "<none>"


class ListRefused(Exception):
    """It cannot be read; ``str()`` is a sentence for a person."""


class ImageList(NamedTuple):
    """Names as they stand there, each once, and what was passed over, in words."""

    images: tuple[str, ...]
    passed_over: tuple[str, ...] = ()


def read_list(content: bytes) -> ImageList:
    """Raises ListRefused."""
    if len(content) > SIZE_LIMIT:
        raise ListRefused(f"it has more than {SIZE_LIMIT >> 20} MiB")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ListRefused("it is not UTF-8") from None
    found = _Found()
    if text.lstrip()[:1] in ("{", "["):
        for document in _json(text):
            found.look_into(document)
    elif any(map(_KEY.match, text.splitlines())):
        for document in _yaml(text):
            found.look_into(document)
    else:
        found.take_lines(text)
    return ImageList(tuple(found.images), tuple(found.passed_over))


class _Found:
    def __init__(self) -> None:
        self.images: dict[str, None] = {}
        self.passed_over: dict[str, None] = {}
        self._seen: set[int] = set()  # mappings and lists that aliases lead to again

    def take_lines(self, text: str) -> None:
        """One name in each, with ``#`` for what is no name; a list of YAML is as good."""
        for line in text.splitlines():
            name = line.partition("#")[0].strip().removeprefix("- ").strip(" '\"")
            if name:
                self.images[name] = None

    def look_into(self, document: Any) -> None:
        """A document of any of the kinds."""
        for each in document if isinstance(document, list) else [document]:
            if isinstance(each, str):
                self.take_lines(each)
            elif isinstance(each, dict):
                self._take_mapping(each)

    def _take_mapping(self, document: dict[Any, Any]) -> None:
        if "apiVersion" in document or "kind" in document or document.keys() >= {"items"}:
            self._take_pods(document)
        elif isinstance(document.get("services"), dict):
            self._take_services(document["services"])
        elif "Repository" in document:
            self._take_listed(document)
        else:
            for listed in document.get("images", [document]) if isinstance(document.get("images", []), list) else []:
                self._take_names(listed)

    def _take_pods(self, document: dict[Any, Any]) -> None:
        """Wherever a pod's containers stand: in a pod, a template of one, a list of them, or a kind of somebody's."""
        waiting: deque[Any] = deque([document])
        while waiting:
            node = waiting.popleft()
            if id(node) in self._seen:
                continue
            self._seen.add(id(node))
            if isinstance(node, dict):
                self._take_containers(node)
            waiting += [value for value in (node.values() if isinstance(node, dict) else node) if _holds_more(value)]

    def _take_containers(self, node: dict[Any, Any]) -> None:
        for key in _CONTAINERS:
            if key in node:
                for container in _mappings(node[key]):
                    self._take(container.get("image"))
        if "volumes" in node:
            for volume in _mappings(node["volumes"]):
                image = volume.get("image")
                self._take(image.get("reference") if isinstance(image, dict) else None)

    def _take_services(self, services: dict[Any, Any]) -> None:
        """What Compose builds itself comes from nowhere."""
        for name, service in services.items():
            if not isinstance(service, dict) or "image" not in service:
                continue
            if "build" in service:
                self.passed_over[f"{service['image']}: the service {name} builds it"] = None
            elif "$" in str(service["image"]):
                self.passed_over[f"{service['image']}: a variable; 'docker compose config' puts its value in"] = None
            else:
                self._take(service["image"])

    def _take_listed(self, row: dict[Any, Any]) -> None:
        """``docker images --format json``: a row for each tag."""
        repository, tag, digest = (row.get(key) for key in ("Repository", "Tag", "Digest"))
        if repository in (None, _NONE):
            self.passed_over[f"{row.get('ID', 'an image')}: it has no name"] = None
        elif tag not in (None, _NONE):
            self._take(f"{repository}:{tag}")
        elif digest not in (None, _NONE):
            self._take(f"{repository}@{digest}")
        else:
            self.passed_over[f"{repository}: it has no tag"] = None

    def _take_names(self, image: Any) -> None:
        """podman's and crictl's: each image with its names."""
        if not isinstance(image, dict):
            return
        for key in ("Names", "RepoTags", "repoTags", "RepoDigests", "repoDigests"):
            names = [each for each in image.get(key) or () if isinstance(each, str) and _NONE not in each]
            for name in names:
                self._take(name)
            if names:
                return

    def _take(self, name: object) -> None:
        if isinstance(name, str) and name.strip():
            self.images[name.strip()] = None


def _holds_more(value: object) -> bool:
    return isinstance(value, dict | list)


def _mappings(value: object) -> list[dict[Any, Any]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _json(text: str) -> Iterator[Any]:
    """One document, or one in each line."""
    try:
        yield json.loads(text)
        return
    except (ValueError, RecursionError) as cause:
        refused = cause
    lines = [line for line in text.splitlines() if line.strip()]
    try:
        if len(lines) < 2 or not isinstance(json.loads(lines[0]), dict):
            raise refused
        for line in lines:
            yield json.loads(line)
    except (ValueError, RecursionError) as cause:
        raise ListRefused(f"it is no JSON that can be read: {cause}") from None


def _yaml(text: str) -> Iterator[Any]:
    if len(text) > _YAML_LIMIT:
        raise ListRefused(f"YAML of more than {_YAML_LIMIT >> 20} MiB: give it as JSON")
    try:
        yield from yaml.load_all(text, _ListLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as cause:
        raise ListRefused(f"it is no YAML that can be read: {' '.join(str(cause).split())}") from None


class _ListLoader(yaml.CSafeLoader):
    """Tags that are somebody's own, as Compose's ``!reset``, stand for nothing; what ``<<`` takes in stays small."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        taken = (value for key, value in node.value if key.tag == _MERGE and isinstance(value, yaml.SequenceNode))
        if any(len(value.value) > _MERGED for value in taken):
            raise yaml.YAMLError(f"<< takes in more than {_MERGED} mappings")
        super().flatten_mapping(node)
        if len(node.value) > _MERGED:
            raise yaml.YAMLError(f"<< makes more than {_MERGED} keys of a mapping")


def _nothing(loader: yaml.CSafeLoader, node: yaml.Node) -> None:
    return


_ListLoader.add_constructor(None, _nothing)
