# SPDX-License-Identifier: MIT
"""Messages that name what to do next, with the values of the installation."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._run_parts import NEXT_STEPS

from tests.plays import render_cases

WORKERS = [
    {"name": "worker2", "last_contact_age_seconds": 29.0},
    {"name": "worker1", "last_contact_age_seconds": 3.5},
    {"name": "gone", "last_contact_age_seconds": 4000.0},
]
BUILDX = {"there": "github.com/docker/buildx v0.13.1\n", "missing": "missing\n"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is said on an installation without TLS, on a machine with buildx and on one without."""
    return render_cases(
        tmp_path_factory.mktemp("messages"),
        *("trigger", "webapp", "registry", "registry_client"),
        host="one.example.com",
        wanted={"next": "__webapp_next_steps", "advice": "__registry_client_advice"},
        cases={
            name: {
                "trigger_origin": "http://localhost:8030",
                "trigger_api_origin": "http://one.example.com:8030",
                "__registry_client_buildx": {"stdout": text},
                "__webapp_workers": {"results": [{"worker_instances": WORKERS}, {"worker_instances": []}]},
                "__webapp_slots": {"checks": [{"what": "replication slot x", "detail": "active, 56 bytes behind"}]},
            }
            for name, text in BUILDX.items()
        },
    )


def test_a_deployment_ends_with_the_next_commands(rendered: dict[str, dict[str, Any]]) -> None:
    assert rendered["there"]["next"][0] == NEXT_STEPS
    said = "\n".join(rendered["there"]["next"])
    for words in (
        "Dashboard: http://localhost:8030",
        "http://one.example.com:8030",
        "selfhosted.trigger_dev.login_link -i ",
        "hosts.json -e login_link_email=ADDRESS",
        "selfhosted.trigger_dev.status -i ",
        "Version: Trigger.dev v4.",
        "Workers connected: worker1, worker2\n",
        "replication slot x: active, 56 bytes behind",
    ):
        assert words in said


def test_messages_name_programs_that_are_not_in_the_path_by_their_folder(files: dict[str, str]) -> None:
    """Operators copy such a command into a shell of the host."""
    named = {
        name: re.findall(r"(\S*)trigger-backup (?:[a-z]+-)?(?:accept|resume|undo)\b", text)
        for name, text in files.items()
        if name.startswith(("roles/", "plugins/", "docs/"))
    }
    assert len([name for name, found in named.items() if found]) > 3
    assert [name for name, found in named.items() if not all(before.endswith("/") for before in found)] == []


def test_a_missing_buildx_is_noticed(rendered: dict[str, dict[str, Any]]) -> None:
    assert "install buildx" in rendered["missing"]["advice"][0]
    assert not any("install buildx" in line for line in rendered["there"]["advice"])
