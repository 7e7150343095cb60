# SPDX-License-Identifier: MIT
"""A link that logs in, and a project that can be deployed to, both without a browser."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from verification.deployment import Deployment, Play

from testbed.cluster import Cluster, http
from testbed.common import TestbedError

pytestmark = pytest.mark.changes

MAIL = "first@example.com"
LINK = re.compile(r"http://localhost:8030/magic\?token=\S+")
TOKEN = re.compile(r"tr_pat_[a-z0-9]{40}")


def login_link(deployment: Deployment, folder: Path, mail: str, *options: str) -> Play:
    return deployment.play(
        *options, playbook="selfhosted.trigger_dev.login_link", values={"login_link_email": mail}, scratch=folder
    )


def test_a_login_link_is_printed_once_and_logs_in(deployment: Deployment, tmp_path: Path) -> None:
    play = login_link(deployment, tmp_path, MAIL, "-vvv")
    assert play.code == 0, play.ending()
    assert play.output.count("/magic?token=") == 1
    link = LINK.search(play.output)
    assert link, play.ending()
    token = urllib.parse.urlsplit(link[0]).query.partition("=")[2]
    assert play.output.count(token) == 1
    answer = http("GET", f"{Cluster(deployment.control.name).webapp}/magic?token={token}")
    assert (answer.status, answer.headers["location"]) == (302, "/")
    assert "__session=" in answer.headers["set-cookie"]


@contextmanager
def impatience(webapp: str, mail: str) -> Iterator[None]:
    """Somebody asks for links all the time, however long the playbook takes to ask for its own."""
    done = threading.Event()

    def keep_asking() -> None:
        while not done.is_set():
            # One that comes to no end is not the affair of this test.
            with suppress(TestbedError):
                http("POST", f"{webapp}/login/magic", form={"action": "send", "email": mail})
            done.wait(0.2)

    thread = threading.Thread(target=keep_asking)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def test_too_many_login_links(deployment: Deployment, tmp_path: Path) -> None:
    mail = "impatient@example.com"
    with impatience(Cluster(deployment.control.name).webapp, mail):
        play = login_link(deployment, tmp_path, mail)
    assert play.code != 0
    assert play.changes == []
    assert "3 a minute" in play.message, play.ending()
    assert "censored" not in play.message
    assert "/magic?token=" not in play.output


@dataclass
class Project:
    """What the playbook has made, and how it went."""

    file: Path
    folder: Path
    deployment: Deployment

    def play(self, *options: str) -> Play:
        # The mail of the scenario's administrators is not set: `first` is no administrator.
        values = {"first_project_email": MAIL, "first_project_token_file": str(self.file), "first_project_name": "CI"}
        return self.deployment.play(
            *options, playbook="selfhosted.trigger_dev.first_project", values=values, scratch=self.folder
        )

    def api(self, path: str) -> Any:
        answer = http("GET", f"{Cluster(self.deployment.control.name).webapp}{path}", bearer=self.file.read_text())
        assert answer.status == 200, path
        return json.loads(answer.body)


@pytest.fixture(scope="module")
def project(deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    return Project(folder / "token", folder, deployment)


def test_a_dry_run_makes_nothing(project: Project) -> None:
    users = project.deployment.sql('SELECT count(*) FROM "User"')
    play = project.play("--check", "--diff")
    assert play.code == 0, play.ending()
    assert [change.rpartition(" : ")[2] for change in play.changes] == [
        "Create a personal access token",
        "Write the token to first_project_token_file",
        "Create the organisation",
        "Create the project",
    ]
    assert not project.file.exists()
    assert project.deployment.sql('SELECT count(*) FROM "User"') == users


def test_a_first_project(project: Project) -> None:
    play = project.play("-vvv", "--diff")
    assert play.code == 0, play.ending()
    token = project.file.read_text()
    assert TOKEN.fullmatch(token)
    assert project.file.stat().st_mode & 0o777 == 0o600
    assert token not in play.output
    assert "TRIGGER_API_URL: http://solo.default:8030" in play.output
    assert str(project.file) in play.output
    assert f"{MAIL} is not an administrator" in play.text
    (made,) = project.api("/api/v1/projects")
    assert f"project in trigger.config.ts: {made['externalRef']}" in play.output
    # With this the CLI begins a deployment.
    assert project.api(f"/api/v1/projects/{made['externalRef']}/prod")["apiKey"].startswith("tr_prod_")
    journal = project.deployment.control.output("journalctl --quiet --no-pager")
    assert token not in journal


def test_a_second_run_changes_nothing(project: Project) -> None:
    token = project.file.read_text()
    for options in ((), ("--check", "--diff")):
        play = project.play(*options)
        assert play.code == 0, play.ending()
        assert play.changes == []
    assert project.file.read_text() == token
    assert len(project.api("/api/v1/projects")) == 1


def test_a_token_that_is_not_known_any_more_is_replaced(project: Project) -> None:
    project.file.write_text("tr_pat_" + "0" * 40)
    play = project.play()
    assert play.code == 0, play.ending()
    assert len(project.api("/api/v1/projects")) == 1


def test_a_file_that_holds_something_else_is_left_alone(project: Project) -> None:
    token = project.file.read_text()
    project.file.write_text("my notes")
    play = project.play()
    assert play.code != 0
    assert "name another file" in play.message
    assert project.file.read_text() == "my notes"
    assert "my notes" not in play.output
    project.file.write_text(token)
