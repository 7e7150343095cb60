# SPDX-License-Identifier: MIT
"""A project is left alone only where Compose would touch no container of it, and all of them are well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils import _compose
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed

# As Compose 2.26 has it.
QUIET = """\
 DRY-RUN MODE -  Container example-redis-1  Running
 DRY-RUN MODE -  Container example-webapp-1  Running
 DRY-RUN MODE -  Container example-redis-1  Waiting
 DRY-RUN MODE -  Container example-redis-1  Healthy
"""
ROW = {
    "Name": "example-webapp-1",
    "Service": "webapp",
    "State": "running",
    "Health": "healthy",
    "CreatedAt": "2026-11-29 02:02:06 +0000 UTC",
    "Networks": "front,back",
    "Labels": "com.docker.compose.project=example",
    "Command": "sleep",
}
KNOWN = {key: ROW[key] for key in _compose.TOLD} | {"Networks": ["front", "back"]}


def asked(said: str, listed: str, code: int = 0, listed_code: int = 0) -> dict[str, Any]:
    calls: list[Sequence[str]] = []

    def docker(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        calls.append(argv)
        return Completed(code, "", said) if "up" in argv else Completed(listed_code, listed, "")

    found = _compose.look(docker, "/opt/example")
    # Nothing that could touch the project.
    assert all("--dry-run" in argv or "ps" in argv for argv in calls)
    assert all(argv[argv.index("--project-directory") + 1] == "/opt/example" for argv in calls)
    assert all(argv[argv.index("--progress") + 1] == "plain" for argv in calls)
    return found


@pytest.mark.parametrize(
    "listed",
    [
        json.dumps(ROW),
        json.dumps([ROW]),
        json.dumps(ROW) + "\n" + json.dumps(ROW),
        json.dumps(ROW | {"Health": ""}),
    ],
)
@pytest.mark.parametrize("said", [QUIET, "Container example-webapp-1 Running"])
def test_a_project_that_runs_is_settled(said: str, listed: str) -> None:
    found = asked(said, listed)
    assert (found["settled"], found["actions"]) == (True, [])
    assert found["containers"][0] in (KNOWN, KNOWN | {"Health": ""})


@pytest.mark.parametrize(
    "said",
    [
        # An output that was turned off, and a container that it does not name.
        "",
        " DRY-RUN MODE -  Container example-redis-1  Running",
        " DRY-RUN MODE -  Container example-webapp-1  Waiting",
        QUIET + " DRY-RUN MODE -  Container example-webapp-1  Recreate",
        QUIET + " DRY-RUN MODE -  Container example-webapp-1  Starting",
        QUIET + " DRY-RUN MODE -  Container example-old-1  Stopping",
        QUIET + " DRY-RUN MODE -  Network example_front  Creating",
        QUIET + " DRY-RUN MODE -  webapp Pulling",
        QUIET + 'time="2026-11-29T02:02:06Z" level=warning msg="the attribute is obsolete"',
    ],
)
def test_anything_else_that_compose_says_is_for_the_start(said: str) -> None:
    assert asked(said, json.dumps(ROW)) == _compose.UNSETTLED


@pytest.mark.parametrize(
    "change",
    [{"State": state} for state in ("paused", "exited", "restarting", "created", "dead")]
    + [{"Health": health} for health in ("starting", "unhealthy")],
)
def test_one_container_that_is_not_well_is_for_the_start(change: dict[str, str]) -> None:
    assert asked(QUIET, json.dumps([ROW, ROW | change])) == _compose.UNSETTLED


@pytest.mark.parametrize(
    ("listed", "codes"),
    [
        ("", (0, 0)),
        ("[]", (0, 0)),
        ("no JSON", (0, 0)),
        ("[1]", (0, 0)),
        (json.dumps(ROW), (0, 1)),
        (json.dumps(ROW), (1, 0)),
    ],
)
def test_in_doubt_it_is_not_settled(listed: str, codes: tuple[int, int]) -> None:
    assert asked(QUIET, listed, *codes) == _compose.UNSETTLED


def test_compose_without_networks_and_times() -> None:
    """Before 2.21 it tells neither, and the filter compose_repairs goes by that."""
    old = {key: ROW[key] for key in ("Name", "Service", "State", "Health")}
    assert asked(QUIET, json.dumps([old]))["containers"] == [old | {"Networks": [""]}]
