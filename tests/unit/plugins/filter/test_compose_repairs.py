# SPDX-License-Identifier: MIT
"""Filter compose_repairs. Results are as Compose 2.26.1 gave them on engine 20.10."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.compose_repairs import compose_repairs

CREATED = 1795918926
DEFINITION: dict[str, Any] = {
    "services": {
        "database": {"networks": ["data"], "volumes": ["data:/data", "/opt/web/database.conf:/etc/database.conf:ro"]},
        "web": {"networks": {"data": {}, "front": {"aliases": ["www"]}}},
    },
    "networks": {"data": {}, "front": {"external": True}},
}
NOTHING: dict[str, list[str]] = {"resume": [], "recreate": [], "networks": []}
FAILED = "General error: container web-1 is unhealthy"


def container(service: str, state: str = "running", health: str = "healthy", *networks: str) -> dict[str, Any]:
    given = networks or tuple(DEFINITION["services"].get(service, {}).get("networks", ["data"]))
    created = "2026-11-29 03:22:06 +0100 CET"
    row = {"Service": service, "Name": f"{service}-1", "State": state, "Health": health, "CreatedAt": created}
    return row | {"Networks": list(given)}


def repairs(*containers: dict[str, Any], msg: str = "", actions: str = "", modified: int = 0) -> dict[str, list[str]]:
    """Actions are written as container:status."""
    pairs = [action.split(":") for action in actions.split()]
    result: dict[str, Any] = {
        "containers": list(containers),
        "actions": [{"what": "container", "id": name, "status": status} for name, status in pairs],
    }
    result |= {"msg": msg} if msg else {}
    return compose_repairs(result, DEFINITION, "/opt/web", {"database.conf": modified})


def test_what_runs_as_it_should_stays() -> None:
    assert repairs(container("database"), container("web"), modified=CREATED) == NOTHING


def test_a_container_without_one_of_its_networks_is_made_anew_though_compose_is_content() -> None:
    lost = container("web", "running", "healthy", "data")
    assert repairs(container("database"), lost)["recreate"] == ["web"]
    assert repairs(container("database", "running", "healthy", ""), container("web"))["recreate"] == ["database"]


@pytest.mark.parametrize("kind", ["service", "image"])
def test_nothing_is_removed_while_an_image_is_not_to_be_had(kind: str) -> None:
    """The file of the database is younger than its container, so it would be made anew otherwise."""
    result: dict[str, Any] = {
        "containers": [container("database"), container("web")],
        "actions": [{"what": kind, "id": "web", "status": "Pulling"}],
    }
    pulled = compose_repairs(result, DEFINITION, "/opt/web", {"database.conf": CREATED + 1})
    assert pulled["recreate"] == ["database"]
    failed = result | {"msg": "Error when processing web: no such host"}
    assert compose_repairs(failed, DEFINITION, "/opt/web", {"database.conf": CREATED + 1}) == NOTHING
    # Compose has pulled, and failed at a container.
    result["actions"].append({"what": "container", "id": "web-1", "status": "Starting"})
    assert compose_repairs(failed, DEFINITION, "/opt/web", {"database.conf": CREATED + 1})["recreate"] == ["database"]


def test_a_container_that_was_unhealthy_before_is_made_anew() -> None:
    assert repairs(container("database"), container("web", "running", "unhealthy"), msg=FAILED)["recreate"] == ["web"]


@pytest.mark.parametrize("actions", ["web-1:Creating web-1:Starting", "web-1:Recreate", "web-1:Starting"])
def test_what_this_attempt_has_started_is_not_started_again(actions: str) -> None:
    sick = container("web", "running", "unhealthy")
    assert repairs(container("database"), sick, msg=FAILED, actions=actions) == NOTHING


def test_what_has_only_just_begun_is_left_in_peace() -> None:
    assert repairs(container("database"), container("web", "running", "starting"), msg=FAILED) == NOTHING


def test_a_paused_container_goes_on_so_that_it_can_stop_and_is_made_anew() -> None:
    """Its health checks have failed meanwhile: it would go on as unhealthy, where Compose ends (seen)."""
    found = repairs(container("database", "paused", ""), container("web"), msg="cannot start a paused container")
    assert found == NOTHING | {"resume": ["database-1"], "recreate": ["database"]}


def test_what_cannot_be_started_is_made_anew_with_what_stands_still_behind_it() -> None:
    """Its network is gone, and there is another one of the same name."""
    found = repairs(
        container("database", "exited", ""),
        container("web", "exited", ""),
        msg="General error: Error response from daemon: network 51c89ba4 not found",
        actions="database-1:Starting",
    )
    assert found["recreate"] == ["database", "web"]


def test_a_dry_run_that_would_start_a_container_is_no_failure() -> None:
    assert repairs(container("database", "exited", ""), container("web"), actions="database-1:Starting") == NOTHING


def test_what_was_not_come_to_behind_a_new_container_that_fails_is_left() -> None:
    found = repairs(
        container("database", "running", "unhealthy"),
        container("web", "created", ""),
        msg="dependency failed to start: container database-1 is unhealthy",
        actions="database-1:Creating web-1:Creating database-1:Starting",
    )
    assert found == NOTHING


@pytest.mark.parametrize("state", ["restarting", "dead"])
def test_what_starts_again_and_again_is_made_anew(state: str) -> None:
    assert repairs(container("database"), container("web", state, ""), msg=FAILED)["recreate"] == ["web"]


def test_a_container_that_is_older_than_a_file_it_mounts_is_made_anew() -> None:
    """The content is what its label says, so Compose sees no difference."""
    for actions in ("", "database-1:Starting"):
        found = repairs(container("database"), container("web"), modified=CREATED + 1, actions=actions)
        assert found["recreate"] == ["database"]
    made = repairs(container("database"), container("web"), modified=CREATED + 1, actions="database-1:Recreate")
    assert made == NOTHING


def test_a_network_of_somebody_else_in_the_place_of_ours_gives_way() -> None:
    text = 'General error: network data was found but has incorrect label com.docker.compose.network set to ""'
    found = repairs(msg=text)
    assert found == {"resume": [], "recreate": ["database", "web"], "networks": ["data"]}


def test_a_container_of_no_service_is_left_to_compose() -> None:
    assert repairs(container("former", "running", "unhealthy"), msg=FAILED) == NOTHING


def test_an_old_compose_tells_too_little_to_judge_networks_and_files() -> None:
    told = {"Service": "web", "Name": "web-1", "State": "running", "Health": "healthy", "Networks": [""]}
    assert repairs(told, modified=CREATED + 1) == NOTHING
