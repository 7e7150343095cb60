# SPDX-License-Identifier: MIT
"""The secrets of MinIO are replaced, and large payloads stay. It runs before they move to the other object store."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import pytest
from verification import expected
from verification.deployment import Deployment, Play
from verification.runs import packet
from verification.secrets import Secrets, leaks

from testbed.hello import Hello

pytestmark = pytest.mark.soak

WEBAPP, MINIO = "trigger-webapp-webapp-1", "trigger-webapp-trigger-minio-1"
KEPT = "/root/before_minio_secrets.json"
# Above what a run keeps in the database.
PAD = 700_000
# User and password come from a file of root, by standard input.
READ = """python3 -c 'import json, sys; all = json.load(open(sys.argv[1])); print({user}, all["{key}"])' {{file}}"""
TRY = """read -r user key; export MC_HOST_try="http://$user:$key@127.0.0.1:9000"; mc ls try/packets"""
LOGIN = f"{READ} | docker exec -i {MINIO} sh -c '{TRY}'"
KEY = LOGIN.format(user='all["object_store_access_key"]', key="object_store_secret_key")
SECRET_LOGINS = {
    "object_store_root_password": LOGIN.format(user='"trigger"', key="object_store_root_password"),
    # Name and key are one login.
    "object_store_access_key": KEY,
    "object_store_secret_key": KEY,
}


@dataclass
class Story:
    """What happened."""

    play: Play
    old: Secrets = field(repr=False)
    new: Secrets = field(repr=False)
    before: str
    after: str
    fresh: str


@pytest.fixture(scope="module")
def story(deployment: Deployment, hello: Hello, tmp_path_factory: pytest.TempPathFactory) -> Story:
    """Live through it once; the tests look at what came of it."""
    control = deployment.control
    # As the tests before this one have left it.
    version = control.output("docker inspect --format '{{.Config.Image}}' %s", WEBAPP).rpartition(":")[2]
    control.output("umask 077; cp %s %s", expected.SECRETS_FILE, KEPT)
    old = deployment.secrets()
    large = hello.run({"pad": PAD}).id
    before = packet(deployment, hello.cluster, hello.key(), large)
    chosen = {"trigger_version": version, "webapp_object_store": "minio", "secrets_rotate_names": sorted(SECRET_LOGINS)}
    done = deployment.play(
        playbook="selfhosted.trigger_dev.secrets_rotate", values=chosen, scratch=tmp_path_factory.mktemp("minio")
    )
    after = packet(deployment, hello.cluster, hello.key(), large)
    fresh = packet(deployment, hello.cluster, hello.key(), hello.run({"pad": PAD}).id)
    return Story(done, old, deployment.secrets(), before, after, fresh)


def test_they_are_replaced_and_no_other_secret(story: Story) -> None:
    assert story.play.code == 0, story.play.ending()
    # Names alone: a failing test would show values.
    assert {name for name in story.old if story.old[name] != story.new[name]} == set(SECRET_LOGINS)
    assert leaks(story.play.output, story.old) == set()
    assert leaks(story.play.output, story.new) == set()


@pytest.mark.parametrize("name", SECRET_LOGINS)
def test_the_new_one_opens_and_the_old_one_does_not(story: Story, deployment: Deployment, name: str) -> None:
    assert story.play.code == 0, story.play.ending()
    new = deployment.control.run(SECRET_LOGINS[name].format(file=expected.SECRETS_FILE))
    assert new.rc == 0, new.stderr
    assert deployment.control.run(SECRET_LOGINS[name].format(file=KEPT)).rc != 0, f"the old {name} still works"


def test_large_outputs_are_read_and_written(story: Story) -> None:
    assert story.after == story.before
    assert {len(json.loads(text)["pad"]) for text in (story.before, story.fresh)} == {PAD}
