# SPDX-License-Identifier: MIT
"""Messages that name what to do next, with the values of the installation."""

from __future__ import annotations

from typing import Any

import pytest

from tests.plays import render_cases

BUILDX = {"there": "github.com/docker/buildx v0.13.1\n", "missing": "missing\n"}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What is said on an installation without TLS, on a machine with buildx and on one without."""
    return render_cases(
        tmp_path_factory.mktemp("messages"),
        *("trigger", "registry", "registry_client"),
        host="one.example.com",
        wanted={"next": "__trigger_next_steps", "advice": "__registry_client_advice"},
        cases={
            name: {
                "trigger_origin": "http://localhost:8030",
                "trigger_api_origin": "http://one.example.com:8030",
                "__registry_client_buildx": {"stdout": text},
            }
            for name, text in BUILDX.items()
        },
    )


def test_a_deployment_ends_with_the_next_commands(rendered: dict[str, dict[str, Any]]) -> None:
    said = "\n".join(rendered["there"]["next"])
    for words in (
        "Dashboard: http://localhost:8030",
        "http://one.example.com:8030",
        "selfhosted.trigger_dev.login_link -i ",
        "hosts.json -e login_link_email=ADDRESS",
        "selfhosted.trigger_dev.status -i ",
    ):
        assert words in said


def test_a_missing_buildx_is_noticed(rendered: dict[str, dict[str, Any]]) -> None:
    assert "install buildx" in rendered["missing"]["advice"][0]
    assert not any("install buildx" in line for line in rendered["there"]["advice"])
