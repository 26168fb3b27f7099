"""From one site to another: what goes out, what comes in, and what is served then."""

import json
import re
from contextlib import closing
from pathlib import Path

import pytest

from proxy.bundles.targets import FolderTarget
from proxy.bundles.volumes import ArchiveTarget
from proxy.core.manifests import OCI_MANIFEST
from proxy.core.names import Digest
from tests.bundles.cast import Parcel
from tests.bundles.conftest import UPSTREAMS, Site
from tests.e2e.images import EMPTY, MANIFEST, noise
from tests.process import Entrepot

KiB = 1 << 10


@pytest.fixture
def parcel(near: Site, mine: str, tmp_path: Path) -> Parcel:
    """What the near site holds: two images that share a layer."""
    made, seed = Parcel(), int(mine[1:], 16)
    shared = noise(300 * KiB, seed)
    made.tag(f"docker.io/{mine}/app:v1", made.image(shared, noise(100 * KiB, seed + 2)))
    made.tag(f"docker.io/{mine}/app:v2", made.image(shared, noise(50 * KiB, seed + 3)))
    near.does("import", made.folder(tmp_path / "made"))
    return made


def serves(site: Site, parcel: Parcel) -> None:
    """All of it, by its own names."""
    for descriptor in parcel.tagged:
        name, _, tag = descriptor["annotations"]["org.opencontainers.image.ref.name"].rpartition(":")
        registry, _, repository = name.partition("/")
        found = site.manifest(repository, tag, registry)
        assert (found.status, found.headers["docker-content-digest"]) == (200, descriptor["digest"])
        document = json.loads(found.body)
        for each in (document.get("config"), *document.get("layers", ())):
            if each is not None:
                digest = Digest.parse(each["digest"])
                assert site.blob(repository, digest, registry).body == parcel.blobs[digest]


def test_an_imported_image_answers_in_all_three_forms_of_address_with_its_tags(
    near: Site, parcel: Parcel, mine: str
) -> None:
    serves(near, parcel)
    for path, query in ((f"docker.io/{mine}/app", ""), (f"{mine}/app", "?ns=docker.io"), (f"{mine}/app", "")):
        found = near.entrepot.get(f"/v2/{path}/manifests/v1{query}")
        assert (found.status, found.headers["content-type"]) == (200, OCI_MANIFEST)
        assert json.loads(near.entrepot.get(f"/v2/{path}/tags/list{query}").body)["tags"] == ["v1", "v2"]
    assert " by order, the last " in near.does("status")


@pytest.mark.parametrize("ending", ["", ".tar", ".tar.zst"])
def test_what_one_site_exports_the_other_imports(
    ending: str, near: Site, far: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    bundle = tmp_path / f"bundle{ending}"
    near.does("export", f"docker.io/{mine}/*", "--to", bundle)
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob("*.journal"))
    preview = far.does("import", bundle, "--dry-run")
    assert "2 images would be imported" in preview
    assert far.manifest(f"{mine}/app", "v1").status != 200
    far.does("import", bundle)
    serves(far, parcel)


def test_a_delta_brings_the_new_layer_and_nothing_else(
    near: Site, far: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    near.does("export", f"docker.io/{mine}/*", "--to", tmp_path / "all.tar")
    far.does("import", tmp_path / "all.tar")
    (tmp_path / "far.json").write_text(far.does("export", "--list"))
    new = noise(200 * KiB, int(mine[1:], 16) + 4)
    more = Parcel()
    more.tag(f"docker.io/{mine}/app:v3", more.image(noise(300 * KiB, int(mine[1:], 16)), new))
    near.does("import", more.folder(tmp_path / "more"))
    near.does("export", f"docker.io/{mine}/*", "--since", tmp_path / "far.json", "--to", tmp_path / "delta.tar")
    assert abs((tmp_path / "delta.tar").stat().st_size - len(new)) <= 64 * KiB
    assert "app:v1" not in (said := far.does("import", tmp_path / "delta.tar"))
    assert "app:v3" in said
    serves(far, more)
    (tmp_path / "far.json").write_text(far.does("export", "--list"))
    near.does("export", f"docker.io/{mine}/*", "--since", tmp_path / "far.json", "--to", tmp_path / "nothing.tar")
    assert (tmp_path / "nothing.tar").stat().st_size <= 64 * KiB


def test_a_delta_does_not_help_who_lacks_its_parent(
    near: Site, far: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    (tmp_path / "near.json").write_text(near.does("export", f"docker.io/{mine}/app:v1", "--list"))
    near.does("export", f"docker.io/{mine}/app:v2", "--since", tmp_path / "near.json", "--to", tmp_path / "delta.tar")
    said = far("import", tmp_path / "delta.tar")
    assert (said.status, "1 of its contents are neither here nor held" in said.out) == (1, True)
    assert far.manifest(f"{mine}/app", "v2").status != 200


def test_volumes_come_in_any_order_and_one_at_a_time(
    near: Site, far: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    near.does("export", f"docker.io/{mine}/*", "--to", tmp_path / "b.tar.zst", "--split", "420KiB")
    volumes = sorted(tmp_path.glob("b.*.tar.zst"), reverse=True)
    assert len(volumes) > 1
    assert all(volume.stat().st_size <= 420 * KiB for volume in volumes)
    for volume in volumes[:-1]:
        far("import", volume)
    assert far.manifest(f"{mine}/app", "v1").status != 200 or far.manifest(f"{mine}/app", "v2").status != 200
    far.does("import", volumes[-1])
    serves(far, parcel)


def test_a_volume_that_cannot_hold_the_largest_blob_is_told_the_least_size_before_anything_is_written(
    near: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    words = ("export", f"docker.io/{mine}/*", "--to", tmp_path / "c.tar", "--split")
    said = near(*words, "100KiB")
    assert said.status == 1
    assert not list(tmp_path.glob("c.*"))
    largest = max(parcel.blobs, key=lambda digest: len(parcel.blobs[digest]))
    told = re.search(r"the largest blob is (\S+) with 307200 bytes.*--split (\d+)", " ".join(said.out.split()))
    assert told is not None, said.out
    assert told[1] == largest
    assert near(*words, int(told[2]) - 1).status == 1
    assert "2 images" in near.does(*words, told[2])


def test_of_an_index_the_platforms_that_are_held_go_out_and_the_list_says_which_do_not(
    near: Site, far: Site, tmp_path: Path
) -> None:
    parcel = Parcel()
    ours, other = parcel.image(b"ours" * 1000), parcel.image(b"other" * 1000)
    index = parcel.index([ours, other])
    parcel.tag("quay.io/team/app:v1", index)
    del parcel.blobs[Digest.parse(other["digest"])]
    near.does("import", parcel.folder(tmp_path / "made"))
    near.does("export", "quay.io/team/app:v1", "--to", tmp_path / "b.tar")
    listed = json.loads(near.does("export", "quay.io/*", "--list"))
    assert [image["absent"] for image in listed["images"]] == [[other["digest"]]]
    assert "1 platforms are not in it" in far.does("import", tmp_path / "b.tar")
    serves(far, parcel)
    assert far.manifest("team/app", ours["digest"], "quay.io").status == 200
    assert far.manifest("team/app", other["digest"], "quay.io").status != 200


def test_what_is_found_by_a_tag_made_of_an_image_travels_with_it(
    near: Site, far: Site, mine: str, tmp_path: Path
) -> None:
    parcel = Parcel()
    subject = parcel.image(b"the layer" * 100)
    parcel.tag(f"docker.io/{mine}/app:v1", subject)
    signature = str(subject["digest"]).replace(":", "-") + ".sig"
    parcel.tag(f"docker.io/{mine}/app:{signature}", parcel.image(b"signed" * 100))
    parcel.tag(f"docker.io/{mine}/app:v2", parcel.image(b"another" * 100))
    near.does("import", parcel.folder(tmp_path / "made"))
    near.does("export", f"docker.io/{mine}/app:v1", "--to", tmp_path / "b.tar")
    far.does("import", tmp_path / "b.tar")
    assert far.manifest(f"{mine}/app", signature).status == 200
    assert far.manifest(f"{mine}/app", "v2").status != 200


def test_what_is_about_an_image_travels_with_it(near: Site, far: Site, mine: str, tmp_path: Path) -> None:
    parcel = Parcel()
    subject = parcel.image(b"layer" * 100)
    parcel.tag(f"docker.io/{mine}/app:v1", subject)
    artifact = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example.signature",
        "config": parcel.put(b"{}", EMPTY),
        "layers": [parcel.put(b"signed", "text/plain")],
        "subject": subject,
    }
    signature = parcel.put(json.dumps(artifact).encode(), MANIFEST)
    near.does("import", parcel.folder(tmp_path / "made"))
    for pattern in (f"docker.io/{mine}/app:v1", f"docker.io/{mine}/*"):
        images = json.loads(near.does("export", pattern, "--list"))["images"]
        assert sorted(image["digest"] for image in images) == sorted([subject["digest"], signature["digest"]]), "once"
    near.does("export", f"docker.io/{mine}/app:v1", "--to", tmp_path / "b.tar")
    far.does("import", tmp_path / "b.tar")
    listed = far.entrepot.get(f"/v2/docker.io/{mine}/app/referrers/{subject['digest']}")
    assert [each["digest"] for each in json.loads(listed.body)["manifests"]] == [signature["digest"]]


def test_a_bundle_makes_no_right_of_another_registrys_content_that_it_does_not_bring(
    near: Site, mine: str, tmp_path: Path
) -> None:
    secret, evil = Parcel(), Parcel()
    layer = b"a layer of a private registry" * 100
    secret.tag("private.test/team/secret:v1", secret.image(layer))
    near.does("import", secret.folder(tmp_path / "secret"))
    evil.tag(f"docker.io/{mine}/evil:v1", evil.image(layer, b"another"))
    del evil.blobs[Digest.of(layer)]
    said = near("import", evil.folder(tmp_path / "evil"))
    assert (said.status, "is held for another registry" in said.out) == (1, True), said.out
    assert near.manifest(f"{mine}/evil", "v1").status == 404
    assert near.blob(f"{mine}/evil", Digest.of(layer)).status == 404


def test_an_image_of_a_registry_that_is_no_upstream_is_refused(near: Site, tmp_path: Path) -> None:
    parcel = Parcel()
    parcel.tag("elsewhere.example.com/team/app:v1", parcel.image(b"layer"))
    said = near("import", parcel.folder(tmp_path / "made"))
    assert (said.status, "not a configured upstream" in said.out) == (1, True)


def test_images_that_are_not_held_whole_are_named_and_left_out(
    near: Site, parcel: Parcel, mine: str, tmp_path: Path
) -> None:
    layer = Digest.of(noise(50 * KiB, int(mine[1:], 16) + 3))
    near.does("purge", layer, "--yes")
    said = near("export", f"docker.io/{mine}/*", "--to", tmp_path / "b.tar")
    assert said.status == 1
    assert "1 image," in said.out
    assert f"left out: docker.io/{mine}/app:v2: 1 of its contents are not held" in said.out
    assert near("export", "docker.io/none", "--to", tmp_path / "c.tar").status == 1


def test_without_a_running_proxy_it_goes_into_the_folder(parcel: Parcel, tmp_path: Path) -> None:
    entrepot = Entrepot(tmp_path / "site", {"upstreams": UPSTREAMS, "offline": True})
    said = entrepot.command("import", str(tmp_path / "made"))
    assert (said.returncode, said.stderr) == (0, "")
    assert "2 images imported" in said.stdout
    try:
        entrepot.start()
        serves(Site(entrepot), parcel)
    finally:
        entrepot.dispose()


@pytest.mark.parametrize("form", ["b", "b.tar"])
def test_two_exports_never_write_one_bundle(form: str, near: Site, parcel: Parcel, mine: str, tmp_path: Path) -> None:
    path = tmp_path / form
    with closing(FolderTarget(path) if form == "b" else ArchiveTarget(path, None, 0)):
        said = near("export", f"docker.io/{mine}/*", "--to", path)
        assert (said.status, "by another export" in said.out) == (1, True)
    near.does("export", f"docker.io/{mine}/*", "--to", path)


def test_wrong_words_are_told(near: Site, mine: str, tmp_path: Path) -> None:
    for words in (
        ["export"],
        ["export", f"docker.io/{mine}/*"],
        ["export", f"docker.io/{mine}/*", "--to", tmp_path / "d", "--split", "1GB"],
        ["export", f"docker.io/{mine}/*", "--to", tmp_path / "d.tar", "--split", "much"],
        ["export", f"docker.io/{mine}/*", "--to", tmp_path / "d", "--since", tmp_path / "none"],
        ["import", tmp_path / "none"],
        ["import", tmp_path, "--name", "../x"],
    ):
        assert near(*words).status == 2, words
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    assert near("export", f"docker.io/{mine}/*", "--to", tmp_path / "mine").status == 1
