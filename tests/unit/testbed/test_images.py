# SPDX-License-Identifier: MIT
"""Images are built again exactly when something that they are made of has changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from testbed import common, images

DOCKERFILE = """\
ARG BASE=base
FROM ${BASE} AS first
COPY --chmod=0755 start config/ \\
    /opt/
FROM first
COPY --from=first /opt /srv
ADD data /data
"""


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(images, "ROOT", tmp_path)
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    (tmp_path / "start").write_text("#!/bin/sh\n")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "a.yml").write_text("a: 1\n")
    (tmp_path / "data").write_text("data\n")
    (tmp_path / "README").write_text("not copied\n")
    return tmp_path


def test_sources_are_what_comes_from_the_context() -> None:
    assert images.sources(DOCKERFILE) == ["start", "config/", "data"]


@pytest.mark.parametrize("name", ["Dockerfile", "start", "config/a.yml", "data"])
def test_a_changed_input_changes_the_fingerprint(context: Path, name: str) -> None:
    before = images.fingerprint(context, context / "Dockerfile", ["base"])
    (context / name).write_text((context / name).read_text() + "\n")
    assert images.fingerprint(context, context / "Dockerfile", ["base"]) != before


def test_mode_new_file_and_base_change_the_fingerprint(context: Path) -> None:
    def now(base: str = "base") -> str:
        return images.fingerprint(context, context / "Dockerfile", [base])

    seen = {now(), now("another")}
    (context / "start").chmod(0o755)
    seen.add(now())
    (context / "config" / "b.yml").touch()
    seen.add(now())
    assert len(seen) == 4


def test_what_is_not_copied_does_not_matter(context: Path) -> None:
    before = images.fingerprint(context, context / "Dockerfile", ["base"])
    (context / "README").write_text("changed\n")
    cache = context / "config" / "__pycache__"
    cache.mkdir()
    (cache / "x.pyc").touch()
    assert images.fingerprint(context, context / "Dockerfile", ["base"]) == before


def test_a_missing_source_is_named(context: Path) -> None:
    (context / "data").unlink()
    with pytest.raises(common.TestbedError, match="copies data, which does not exist"):
        images.fingerprint(context, context / "Dockerfile", [])


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        ("Debian http://mirror.example/debian/\nDebian-Security http://mirror.example/security/\n", True),
        ("Debian-Security http://x.example/\ncloud http://y.example/\nDebian http://mirror.example/debian/\n", True),
        ("Ubuntu http://mirror.example/ubuntu/\n", False),
        (" \n", False),
        ("", False),
    ],
)
def test_mirror(targets: str, expected: bool) -> None:
    assert images.mirror(targets) == (["http://mirror.example/debian/"] if expected else [])


@pytest.mark.parametrize(("value", "expected"), [("", False), ("doubles", False), ("upstream", True)])
def test_choice_of_images(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("IMAGES", value)
    assert images.upstream() is expected


def test_an_unknown_choice_of_images_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGES", "genuine")
    with pytest.raises(common.TestbedError, match="genuine"):
        images.upstream()


def test_every_row_of_the_table_can_be_built() -> None:
    rows = images.read_table(images.TABLE.read_text())
    assert len({row.reference for row in rows}) == len({(row.key, row.version) for row in rows}) == len(rows)
    assert all(row.reference.endswith(row.version) for row in rows)
    for row in rows:
        dockerfile = row.folder / "Dockerfile"
        assert dockerfile.exists(), row.key
        for source in images.sources(dockerfile.read_text()):
            # Wheels are downloaded when the image is built.
            assert source.startswith(".wheels/") or list(row.context.glob(source.rstrip("/"))), (row.key, source)


def test_lanes_keep_together_what_shares_its_first_layer() -> None:
    rows = images.read_table(images.TABLE.read_text())
    lanes = images.lanes(rows)
    assert sorted(row.key for lane in lanes for row in lane) == sorted(row.key for row in rows)
    assert ["minio", "electric"] in [[row.key for row in lane if row.key in ("minio", "electric")] for lane in lanes]


def test_an_archive_is_made_again_only_for_other_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[Path] = []

    def docker(*arguments: str | Path) -> str:
        scratch = Path(arguments[2])
        saved.append(scratch)
        scratch.write_text("archive")
        return ""

    monkeypatch.setattr(images, "docker", docker)
    path = tmp_path / "webapp.tar"
    images.archive(path, {"webapp": "sha256:1"})
    images.archive(path, {"webapp": "sha256:1"})
    assert len(saved) == 1
    assert path not in saved, "a kill while saving must not leave a file that looks whole"
    images.archive(path, {"webapp": "sha256:2"})
    assert len(saved) == 2
    assert json.loads(path.with_suffix(".inputs").read_text()) == {"webapp": "sha256:2"}
    # Killed between the rename and the marker.
    path.with_suffix(".inputs").unlink()
    images.archive(path, {"webapp": "sha256:2"})
    assert len(saved) == 3
