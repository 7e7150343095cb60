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


POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:ListBucket"], "Resource": ["arn:aws:s3:::packets"]},
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["arn:aws:s3:::packets/*"]},
    ],
}


@pytest.fixture
def users(tmp_path: Path) -> server.Users:
    users = server.Users(Key("root", "rootpassword"), tmp_path)
    users.add("webapp", "webappsecret")
    return users


def test_a_user_may_do_what_its_policy_allows(users: server.Users, tmp_path: Path) -> None:
    users.create_policy("mine", POLICY)
    users.attach("webapp", "mine", True)
    # As after a restart.
    users = server.Users(users.root, tmp_path)
    assert users.key("webapp") == Key("webapp", "webappsecret")
    for action, resource in (
        ("s3:ListBucket", "packets"),
        ("s3:PutObject", "packets/a/b"),
        ("s3:GetObject", "packets/a"),
    ):
        users.authorize("webapp", action, resource)
        users.authorize("root", action, resource)
    for action, resource in (("s3:ListBucket", "other"), ("s3:DeleteBucket", "packets"), ("s3:GetObject", "other/a")):
        with pytest.raises(server.S3Error, match="Access Denied"):
            users.authorize("webapp", action, resource)


def test_a_user_without_a_policy_may_do_nothing(users: server.Users) -> None:
    with pytest.raises(server.S3Error, match="Access Denied"):
        users.authorize("webapp", "s3:GetObject", "packets/a")


def test_a_policy_is_attached_once(users: server.Users) -> None:
    with pytest.raises(server.S3Error, match="does not exist"):
        users.attach("webapp", "mine", True)
    users.create_policy("mine", POLICY)
    with pytest.raises(server.S3Error, match="user does not exist"):
        users.attach("other", "mine", True)
    with pytest.raises(server.S3Error, match="already in effect"):
        users.attach("webapp", "mine", False)
    users.attach("webapp", "mine", True)
    with pytest.raises(server.S3Error, match="already in effect"):
        users.attach("webapp", "mine", True)


@pytest.mark.parametrize(
    ("access", "secret"), [("root", "12345678"), ("ab", "12345678"), ("a=bc", "12345678"), ("abc", "1")]
)
def test_users_that_are_refused(users: server.Users, access: str, secret: str) -> None:
    with pytest.raises(server.S3Error):
        users.add(access, secret)


@pytest.mark.parametrize(
    "policy",
    [
        {},
        POLICY | {"Version": "2012"},
        POLICY | {"Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::"]}]},
        POLICY | {"Statement": [{"Effect": "Allow", "Resource": ["arn:aws:s3:::a"]}]},
    ],
)
def test_policies_that_are_refused(users: server.Users, policy: dict[str, object]) -> None:
    with pytest.raises(server.S3Error):
        users.create_policy("mine", policy)


def test_a_user_that_was_removed_is_not_known_any_more(users: server.Users, tmp_path: Path) -> None:
    users.remove("webapp")
    again = server.Users(users.root, tmp_path)
    assert again.key("webapp") == users.root
    with pytest.raises(server.S3Error, match="does not exist"):
        again.require("webapp")
    with pytest.raises(server.S3Error, match="does not exist"):
        again.remove("webapp")
