# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import registry_login as module

from .conftest import Invoke

PASSWORD = "p@ss word $x'\"#"
REGISTRY = "registry.example.com"
# What engines 20.10 and 26.1 said.
REFUSED = (
    "Error response from daemon: login attempt to https://registry.example.com/v2/ failed with status: 401 Unauthorized"
)
GET = 'Error response from daemon: Get "https://registry.example.com/v2/": '


@dataclass
class Docker:
    """The command line of Docker, which writes a login where it is told."""

    error: str = ""
    store: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def __call__(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        words = list(argv)
        assert PASSWORD not in " ".join(words), "everybody on the host sees command lines"
        self.calls.append(" ".join(words))
        if words[-1] == "get":
            return Completed(0, json.dumps(self.store), "") if self.store else Completed(1, "", "not found")
        if self.error:
            return Completed(1, "", self.error)
        assert stdin == PASSWORD
        folder = Path(words[words.index("--config") + 1])
        folder.mkdir(exist_ok=True)
        login = f"{words[words.index('--username') + 1]}:{stdin}"
        config = {"auths": {words[-1]: {"auth": base64.b64encode(login.encode()).decode()}}}
        (folder / "config.json").write_text(json.dumps(config))
        self.folders.append(folder)
        return Completed(0, "Login Succeeded", "")


@pytest.fixture
def docker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Docker:
    """A host that resolves the registry, with a user whose home is the test's folder."""
    double = Docker()
    monkeypatch.setattr(module, "run", double)
    monkeypatch.setattr(module, "resolve", lambda host: ["10.0.0.5"])
    monkeypatch.setattr(module, "account", lambda name: module.Account(name, tmp_path))
    return double


def log_in(invoke: Invoke, *, check: bool = False, **more: str) -> dict[str, Any]:
    given = {"registry": REGISTRY, "username": "trigger", "password": PASSWORD, **more}
    return invoke(module.main, check=check, **given)


def test_a_proof_leaves_nothing_behind(invoke: Invoke, docker: Docker) -> None:
    result = log_in(invoke)
    assert result["changed"] is False
    assert result["registry_login"] == {
        "registry": REGISTRY,
        "username": "trigger",
        "addresses": ["10.0.0.5"],
        "user": "",
    }
    assert [folder.exists() for folder in docker.folders] == [False]
    assert PASSWORD not in json.dumps(result)


def test_a_dry_run_logs_in_nowhere(invoke: Invoke, docker: Docker) -> None:
    assert log_in(invoke, check=True)["changed"] is False
    assert docker.calls == []


def test_a_login_is_kept_once(invoke: Invoke, docker: Docker, tmp_path: Path) -> None:
    assert log_in(invoke, check=True, user="anna")["changed"] is True
    assert docker.calls == []
    assert log_in(invoke, user="anna")["changed"] is True
    assert docker.calls[-1].startswith(
        f"runuser -u anna -- env HOME={tmp_path} docker --config {tmp_path}/.docker login "
    )
    assert (tmp_path / ".docker/config.json").exists()
    assert log_in(invoke, user="anna")["changed"] is False
    assert log_in(invoke, check=True, user="anna")["changed"] is False
    assert len(docker.calls) == 3, "only the proof is made again"


def test_another_name_replaces_a_kept_login(invoke: Invoke, docker: Docker) -> None:
    log_in(invoke, user="anna")
    assert log_in(invoke, user="anna", username="ci")["changed"] is True


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_login_in_a_credential_store_is_known(invoke: Invoke, docker: Docker, tmp_path: Path, key: str) -> None:
    (tmp_path / ".docker").mkdir()
    config = {"credsStore": "pass"} if key == "credsStore" else {"credHelpers": {REGISTRY: "pass"}}
    (tmp_path / ".docker/config.json").write_text(json.dumps(config))
    assert log_in(invoke, check=True, user="anna")["changed"] is True
    docker.store = {"Username": "trigger", "Secret": PASSWORD}
    assert log_in(invoke, check=True, user="anna")["changed"] is False
    assert "docker-credential-pass get" in docker.calls[-1]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"auths": {"registry.example.com": {"auth": "?"}}}'])
def test_a_damaged_file_of_logins_is_no_login(invoke: Invoke, docker: Docker, tmp_path: Path, text: str) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker/config.json").write_text(text)
    assert log_in(invoke, user="anna")["changed"] is True


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            REFUSED,
            [
                "refuses the login of trigger",
                "registry_client_password",
                "trigger_secrets.registry_password",
                "registry_pull_password",
            ],
        ),
        ("Error response from daemon: unauthorized: incorrect username or password", ["refuses the login"]),
        (
            GET + "x509: certificate signed by unknown authority",
            ["does not know the CA", "gateway_ca_file", "registry_client_ca_file"],
        ),
        (
            GET + "tls: failed to verify certificate: x509: certificate signed by unknown authority",
            ["does not know the CA"],
        ),
        (
            GET + "x509: certificate is valid for other.example.com, not registry.example.com",
            ["no certificate that is valid for it"],
        ),
        (GET + "x509: certificate has expired or is not yet valid", ["valid for it", "clock"]),
        (GET + "remote error: tls: internal error", ["valid for it", "trigger_registry_host"]),
        (GET + "http: server gave HTTP response to HTTPS client", ["trigger_registry_insecure_enabled"]),
        (GET + "dial tcp: lookup registry.example.com: no such host", ["registry_client_address"]),
        (
            GET + "dial tcp 10.0.0.5:443: connect: connection refused",
            ["Nothing listens", "10.0.0.5", "registry_client_address"],
        ),
        (GET + "dial tcp 10.0.0.5:443: i/o timeout", ["does not answer", "firewalls"]),
        (GET + "context deadline exceeded", ["does not answer"]),
        (REFUSED.replace("401 Unauthorized", "502 Bad Gateway"), ["does not reach the registry behind it"]),
        ("docker: no such program", ["Install Docker"]),
        (
            "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            ["running"],
        ),
        ("permission denied while trying to connect to the Docker daemon socket", ["group docker"]),
        (f"something else with {PASSWORD}", ["failed", "something else"]),
    ],
)
def test_what_is_wrong_is_said_with_the_setting(invoke: Invoke, docker: Docker, error: str, words: list[str]) -> None:
    docker.error = error
    result = log_in(invoke)
    assert result["failed"]
    assert [word for word in words if word not in result["msg"]] == [], result["msg"]
    assert PASSWORD not in json.dumps(result)


def test_a_name_without_an_address(invoke: Invoke, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(host: str) -> list[str]:
        raise OSError(-2, "Name or service not known")

    monkeypatch.setattr(module, "resolve", unknown)
    result = log_in(invoke)
    assert result["failed"]
    assert (
        "registry.example.com, the host of the registry, has no address here (Name or service not known)"
        in result["msg"]
    )
    assert "registry_client_address" in result["msg"]
    assert docker.calls == []


def test_a_login_that_cannot_be_kept(invoke: Invoke, docker: Docker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "verify_login", lambda *_arguments: None)
    docker.error = "permission denied while trying to connect to the Docker daemon socket"
    result = log_in(invoke, user="anna")
    assert "anna cannot keep the login" in result["msg"]
    assert "group docker" in result["msg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"registry": "http://x"}, ["without a scheme"]),
        ({"password": ""}, ["registry_client_password"]),
        ({"username": ""}, ["registry_client_username"]),
    ],
)
def test_bad_input(invoke: Invoke, docker: Docker, arguments: dict[str, Any], words: list[str]) -> None:
    result = log_in(invoke, **arguments)
    assert result["failed"]
    assert [word for word in words if word not in result["msg"]] == []
    assert docker.calls == []


def test_a_user_that_the_host_does_not_have(invoke: Invoke) -> None:
    result = log_in(invoke, check=True, user="nobody-of-that-name")
    assert "registry_client_user" in result["msg"]


def test_the_real_resolver_and_the_real_users() -> None:
    assert "127.0.0.1" in module.resolve("127.0.0.1")
    assert module.account("root").home == Path("/root")
