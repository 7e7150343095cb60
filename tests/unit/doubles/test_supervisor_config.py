# SPDX-License-Identifier: MIT
"""What the supervisor hands to runners and to the Docker API."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from doubles.supervisor import config

ENVIRONMENT = {
    "TRIGGER_API_URL": "http://control.lab:8030/",
    "TRIGGER_WORKER_TOKEN": "tr_wgt_x",
    "MANAGED_WORKER_SECRET": "secret",
    "OTEL_EXPORTER_OTLP_ENDPOINT": "http://control.lab:8030/otel",
    "TRIGGER_WORKER_INSTANCE_NAME": "worker1",
    "TRIGGER_WORKLOAD_API_DOMAIN": "supervisor",
    "DOCKER_RUNNER_NETWORKS": "trigger-runner",
}
MESSAGE: dict[str, Any] = {
    "run": {"friendlyId": "run_abc", "attemptNumber": 1, "machine": {"cpu": 0.5, "memory": 0.5}},
    "environment": {"id": "env1"},
    "snapshot": {"friendlyId": "snapshot_1"},
}


def test_trailing_slash_of_the_api_address_is_accepted() -> None:
    assert config.settings(ENVIRONMENT).api_url == "http://control.lab:8030"


def test_ten_consumers_poll_without_scaling() -> None:
    assert config.settings(ENVIRONMENT).consumers == 10


def test_instance_name_is_random_when_unset() -> None:
    unnamed = {key: value for key, value in ENVIRONMENT.items() if key != "TRIGGER_WORKER_INSTANCE_NAME"}
    assert config.settings(unnamed).instance != config.settings(unnamed).instance


def test_environment_of_a_runner() -> None:
    found = config.runner_environment(config.settings(ENVIRONMENT), MESSAGE, 1, 2)
    assert dict(entry.split("=", 1) for entry in found) == {
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://control.lab:8030/otel",
        "TRIGGER_DEQUEUED_AT_MS": "1",
        "TRIGGER_POD_SCHEDULED_AT_MS": "2",
        "TRIGGER_ENV_ID": "env1",
        "TRIGGER_RUN_ID": "run_abc",
        "TRIGGER_SNAPSHOT_ID": "snapshot_1",
        "TRIGGER_SUPERVISOR_API_PROTOCOL": "http",
        "TRIGGER_SUPERVISOR_API_PORT": "8020",
        "TRIGGER_SUPERVISOR_API_DOMAIN": "supervisor",
        "TRIGGER_WORKER_INSTANCE_NAME": "worker1",
        "TRIGGER_RUNNER_ID": "runner-abc",
        "TRIGGER_MACHINE_CPU": "0.5",
        "TRIGGER_MACHINE_MEMORY": "0.5",
        "PRETTY_LOGS": "false",
    }


def test_create_options_of_the_default_preset() -> None:
    found = config.create_options(config.settings(ENVIRONMENT), MESSAGE, "image:1", ["A=1"])
    assert found["name"] == found["Hostname"] == "runner-abc"
    assert found["HostConfig"] == {
        "NetworkMode": "trigger-runner",
        "AutoRemove": True,
        "NanoCpus": 500_000_000,
        "Memory": 536_870_912,
    }


def test_no_limits_when_presets_are_not_enforced() -> None:
    loose = config.settings({**ENVIRONMENT, "DOCKER_ENFORCE_MACHINE_PRESETS": "false"})
    assert "Memory" not in config.create_options(loose, MESSAGE, "image:1", [])["HostConfig"]


def test_network_list_is_not_trimmed_and_defaults_to_host() -> None:
    assert config.settings({**ENVIRONMENT, "DOCKER_RUNNER_NETWORKS": "a, b"}).networks == ("a", " b")
    plain = {key: value for key, value in ENVIRONMENT.items() if key != "DOCKER_RUNNER_NETWORKS"}
    assert config.settings(plain).networks == ("host",)


def test_every_create_option_is_repeated_in_the_query() -> None:
    options = config.create_options(config.settings(ENVIRONMENT), MESSAGE, "image:1", ["A=1", "B=2"])
    query = {name: values[0] for name, values in parse_qs(config.query_string(options)).items()}
    assert set(query) == set(options)
    assert json.loads(query["Env"]) == ["A=1", "B=2"]
    assert json.loads(query["HostConfig"])["NetworkMode"] == "trigger-runner"
    assert query["AttachStdout"] == "false"


@pytest.mark.parametrize(("attempt", "name"), [(1, "runner-abc"), (2, "runner-abc-attempt-2")])
def test_runner_id(attempt: int, name: str) -> None:
    assert config.runner_id("run_abc", attempt) == name


def test_registry_login_needs_all_three() -> None:
    full = {"DOCKER_REGISTRY_URL": "r:5000", "DOCKER_REGISTRY_USERNAME": "u", "DOCKER_REGISTRY_PASSWORD": "p?>"}
    header = config.registry_auth(full)
    assert header is not None
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "u",
        "password": "p?>",
        "serveraddress": "r:5000",
    }
    for name in full:
        assert config.registry_auth({**full, name: ""}) is None


def test_digest_is_cut() -> None:
    assert config.image_reference("r/x:1@sha256:ab", strip_digest=True) == "r/x:1"
    assert config.image_reference("r/x:1@sha256:ab", strip_digest=False) == "r/x:1@sha256:ab"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("tcp://docker-proxy:2375", ("http://docker-proxy:2375", None)),
        ("unix:///run/x.sock", ("http://localhost", "/run/x.sock")),
        ("", ("http://localhost", "/var/run/docker.sock")),
        ("docker-proxy:2375", ("http://localhost", "/var/run/docker.sock")),
    ],
)
def test_docker_host(host: str, expected: tuple[str, str | None]) -> None:
    assert config.docker_base(host) == expected


def test_token_file_is_trimmed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("tr_wgt_abc\n")
    assert config.read_token(f"file://{file}") == "tr_wgt_abc"
    file.write_text("\n")
    with pytest.raises(ValueError, match="empty"):
        config.read_token(f"file://{file}")
    with pytest.raises(FileNotFoundError):
        config.read_token(f"file://{tmp_path}/none")


def test_additional_variables_are_cut_at_commas_and_equals_signs() -> None:
    assert config.additional_variables("A=1,B=x=y,C") == {"A": "1", "B": "x"}
