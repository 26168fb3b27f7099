"""What the upstream holds: written once, then only read by the registries of all tests."""

from pathlib import Path
from typing import NamedTuple

from proxy.core.names import Digest
from tests.cast.registry import Registry
from tests.e2e.clients import Reference
from tests.e2e.images import INDEX, Descriptor, Layout, noise
from tests.process import run

NAME = "registry.test"
APP = Reference(NAME, "team/app", "v1")  # an index of two architectures
NEXT_APP = Reference(NAME, "team/app", "v2")  # shares a layer with APP
BIG = Reference(NAME, "team/big", "v1")  # one layer of BIG_SIZE
BIG_AGAIN = Reference(NAME, "team/again", "v1")  # the same, in another repository
OLD = Reference(NAME, "team/old", "v1")  # Docker image manifest v2, schema 2
HUB = Reference("docker.io", "library/web", "v1")
GREETING = "etc/greeting"
BIG_SIZE = 200 << 20
SIGNATURE = "application/vnd.example.signature.v1"


class Stock(NamedTuple):
    storage: Path
    layout: Layout
    app: Descriptor
    app_image: Descriptor  # of this machine's architecture, within ``app``
    signature: Descriptor  # refers to ``app``
    shared_layer: str  # digest
    big_layer: str  # digest

    @property
    def referrers_tag(self) -> str:
        """distribution-spec "Referrers Tag Schema"."""
        return str(self.app["digest"]).replace(":", "-")


def greeting(image: Reference) -> bytes:
    return f"hello from {image}\n".encode()


def stock(folder: Path) -> Stock:
    layout = Layout(folder / "layout")
    base = layout.layer({"etc/os-release": b"ID=nothing\n", "usr/share/noise": noise(3 << 20, 1)})
    big = layout.layer({"usr/share/big": noise(BIG_SIZE, 2)})

    def topped(image: Reference) -> tuple[Descriptor, Digest]:
        return layout.layer({GREETING: greeting(image)})

    app_image = layout.image([base, topped(APP)])
    foreign = layout.image([base, layout.layer({"etc/foreign": b"yes\n"})], "s390x")
    app = layout.index([app_image, foreign])
    signature = layout.artifact(app, SIGNATURE, b"signed")
    tagged = {
        APP: app,
        NEXT_APP: layout.image([base, topped(NEXT_APP)]),
        BIG: layout.image([base, big, topped(BIG)]),
        BIG_AGAIN: layout.image([base, big, topped(BIG_AGAIN)]),
        OLD: layout.image([base, topped(OLD)]),
        HUB: layout.image([base, topped(HUB)]),
    }
    made = Stock(folder / "storage", layout, app, app_image, signature, base[0]["digest"], big[0]["digest"])
    for image, descriptor in tagged.items():
        layout.tag(_name(image), descriptor)
    layout.tag("signature", signature)
    with Registry(folder / "filling", made.storage).running() as registry:
        for image in tagged:
            form = ["--format", "v2s2"] if image == OLD else ["--preserve-digests", "--all"]
            _push(layout, _name(image), f"{registry.address}/{image.repository}:{image.tag}", form)
        _push(layout, "signature", f"{registry.address}/{APP.repository}:signature", ["--preserve-digests"])
        referrers = layout.read(layout.index([signature])["digest"])
        registry.put_manifest(APP.repository, made.referrers_tag, INDEX, referrers)
    return made


def _name(image: Reference) -> str:
    return f"{image.repository.replace('/', '-')}-{image.tag}"


def _push(layout: Layout, name: str, target: str, form: list[str]) -> None:
    run(["skopeo", "copy", "--dest-tls-verify=false", *form, f"oci:{layout.folder}:{name}", f"docker://{target}"])
