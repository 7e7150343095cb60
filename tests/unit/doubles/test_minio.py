# SPDX-License-Identifier: MIT
from __future__ import annotations

from pathlib import Path

import pytest
from doubles.minio import mc, server
from doubles.sigv4 import Key


@pytest.mark.parametrize(
    ("environment", "key"),
    [
        ({"MINIO_ROOT_USER": "abc", "MINIO_ROOT_PASSWORD": "12345678"}, Key("abc", "12345678")),
        ({}, Key("minioadmin", "minioadmin")),
    ],
)
def test_credentials(environment: dict[str, str], key: Key) -> None:
    assert server.key_from_environment(environment) == key


@pytest.mark.parametrize(
    "environment",
    [
        {"MINIO_ROOT_USER": "ab", "MINIO_ROOT_PASSWORD": "12345678"},
        {"MINIO_ROOT_USER": "abc", "MINIO_ROOT_PASSWORD": "1234567"},
        {"MINIO_ROOT_USER": "abc"},
        {"MINIO_ROOT_USER": "", "MINIO_ROOT_PASSWORD": "12345678"},
    ],
)
def test_credentials_that_end_the_server(environment: dict[str, str]) -> None:
    with pytest.raises(server.CredentialError):
        server.key_from_environment(environment)


def test_paths_are_decoded_and_stay_in_their_bucket() -> None:
    assert server.split_path("/") == ("", "")
    assert server.split_path("/packets") == ("packets", "")
    assert server.split_path("/packets/a%20b/c.json") == ("packets", "a b/c.json")
    for path in ("/packets/../x", "/packets/a/%2e%2e/b", "/packets/a//b"):
        with pytest.raises(server.S3Error):
            server.split_path(path)


def test_buckets_and_objects(tmp_path: Path) -> None:
    store = server.Store(tmp_path)
    with pytest.raises(server.S3Error, match="does not exist"):
        store.put("packets", "a", b"", "text/plain")
    store.make_bucket("packets")
    with pytest.raises(server.S3Error, match="already own"):
        store.make_bucket("packets")
    with pytest.raises(server.S3Error, match="not valid"):
        store.make_bucket("No")
    store.put("packets", "a/b", b"one", "text/plain")
    store.put("packets", "a", b"two", "text/plain")
    assert store.get("packets", "a/b") == b"one"
    assert sorted(store.keys("packets")) == ["a", "a/b"]
    assert store.buckets() == ["packets"]
    store.delete("packets", "a")
    with pytest.raises(server.S3Error, match="key does not exist"):
        store.get("packets", "a")
    with pytest.raises(server.S3Error, match="not empty"):
        store.remove_bucket("packets")


@pytest.mark.parametrize(
    ("text", "alias"),
    [
        ("http://user:pass@localhost:9000", mc.Alias("http://localhost:9000", Key("user", "pass"))),
        ("https://user:p@ss:w%41@s3.lab/", mc.Alias("https://s3.lab", Key("user", "p@ss:w%41"))),
    ],
)
def test_alias_from_the_environment_is_literal(text: str, alias: mc.Alias) -> None:
    assert mc.alias_from_environment("local", {"MC_HOST_local": text}) == alias


def test_aliases_without_the_environment(tmp_path: Path) -> None:
    environment = {"MC_CONFIG_DIR": str(tmp_path / "mc")}
    assert mc.find_alias("local", environment) == mc.Alias("http://localhost:9000", Key("", ""))
    assert (tmp_path / "mc" / "config.json").exists()
    with pytest.raises(mc.Failure, match="No such alias"):
        mc.find_alias("other", environment)
    with pytest.raises(mc.Failure, match="Unable to parse"):
        mc.find_alias("local", {**environment, "MC_HOST_local": "nonsense"})
