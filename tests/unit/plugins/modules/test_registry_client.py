# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.modules import registry_client as module

from .conftest import Invoke

REGISTRY = "registry.example.com:5000"
MARK = "# Ansible managed (selfhosted.trigger_dev)"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\nAAAA\n-----END CERTIFICATE-----"
OTHER = PEM.replace("AAAA", "BBBB")
NAMES = "127.0.0.1\tlocalhost\n::1 localhost\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """The folder /etc of a host."""
    (tmp_path / "hosts").write_text(NAMES)
    os.chmod(tmp_path / "hosts", 0o644)
    return tmp_path


def client(invoke: Invoke, host: Path, *, check: bool = False, registry: str = REGISTRY, **more: str) -> dict[str, Any]:
    return invoke(
        module.main,
        check=check,
        registry=registry,
        hosts_file=str(host / "hosts"),
        certificates_directory=str(host / "docker/certs.d"),
        **more,
    )


def trust(host: Path, registry: str = REGISTRY) -> Path:
    return host / "docker/certs.d" / registry / "ca.crt"


def test_a_public_registry_with_a_name_in_the_dns_needs_nothing(invoke: Invoke, host: Path) -> None:
    result = client(invoke, host)
    assert result["changed"] is False
    assert result["registry_client"] == {"registry": REGISTRY, "address": "", "ca_file": ""}
    assert (host / "hosts").read_text() == NAMES
    assert not (host / "docker").exists()


def test_both_are_brought_about_once(invoke: Invoke, host: Path) -> None:
    predicted = client(invoke, host, check=True, address="10.0.0.5", ca_certificates=PEM)
    assert predicted["changed"] is True
    assert not (host / "docker").exists()
    first = client(invoke, host, address="10.0.0.5", ca_certificates=f"{PEM}\n")
    assert first["changed"] is True
    assert first["diff"] == predicted["diff"]
    assert first["registry_client"]["ca_file"] == str(trust(host))
    assert (host / "hosts").read_text() == f"{NAMES}10.0.0.5 registry.example.com {MARK}\n"
    assert trust(host).read_text() == f"{MARK}\n{PEM}\n"
    assert [path.stat().st_mode & 0o777 for path in (trust(host), trust(host).parent, host / "docker/certs.d")] == [
        0o644,
        0o755,
        0o755,
    ]
    assert (host / "hosts").stat().st_mode & 0o777 == 0o644
    assert client(invoke, host, address="10.0.0.5", ca_certificates=PEM)["changed"] is False
    assert client(invoke, host, check=True, address="10.0.0.5", ca_certificates=PEM)["changed"] is False


def test_both_are_taken_away_again(invoke: Invoke, host: Path) -> None:
    client(invoke, host, address="10.0.0.5", ca_certificates=PEM)
    assert client(invoke, host)["changed"] is True
    assert (host / "hosts").read_text() == NAMES
    assert not trust(host).parent.exists()
    assert client(invoke, host)["changed"] is False


def test_a_change_replaces_what_was_ours(invoke: Invoke, host: Path) -> None:
    client(invoke, host, address="10.0.0.5", ca_certificates=PEM)
    assert client(invoke, host, address="10.0.0.6", ca_certificates=OTHER)["changed"] is True
    assert (host / "hosts").read_text().count("registry.example.com") == 1
    assert trust(host).read_text() == f"{MARK}\n{OTHER}\n"


def test_what_was_for_another_name_goes(invoke: Invoke, host: Path) -> None:
    client(invoke, host, registry="old.example.com", address="10.0.0.5", ca_certificates=PEM)
    client(invoke, host, address="10.0.0.5", ca_certificates=PEM)
    assert not trust(host, "old.example.com").parent.exists()
    assert trust(host).exists()
    assert "old.example.com" not in (host / "hosts").read_text()


def test_what_somebody_else_put_there_stays(invoke: Invoke, host: Path) -> None:
    for registry in (REGISTRY, "theirs.example.com"):
        trust(host, registry).parent.mkdir(parents=True)
        trust(host, registry).write_text(f"{OTHER}\n{PEM}\n")
    (host / "hosts").write_text(f"{NAMES}10.0.0.9 registry.example.com")
    assert client(invoke, host, ca_certificates=PEM)["changed"] is False, "it holds the CA already"
    assert client(invoke, host)["changed"] is False
    assert trust(host).exists()
    client(invoke, host, address="10.0.0.5")
    assert (host / "hosts").read_text() == (
        f"{NAMES}10.0.0.9 registry.example.com\n10.0.0.5 registry.example.com {MARK}\n"
    )


def test_another_ca_of_somebody_else_is_not_overwritten(invoke: Invoke, host: Path) -> None:
    trust(host).parent.mkdir(parents=True)
    trust(host).write_text(OTHER)
    result = client(invoke, host, ca_certificates=PEM)
    assert result["failed"]
    assert str(trust(host)) in result["msg"]
    assert "not written by this module" in result["msg"]
    assert trust(host).read_text() == OTHER


def test_a_file_beside_ours_stays(invoke: Invoke, host: Path) -> None:
    client(invoke, host, ca_certificates=PEM)
    (trust(host).parent / "client.cert").write_text("x")
    client(invoke, host)
    assert [path.name for path in trust(host).parent.iterdir()] == ["client.cert"]


def test_a_file_of_names_that_is_a_mount_is_written_into(
    invoke: Invoke, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(*_arguments: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "replace", busy)
    assert client(invoke, host, address="10.0.0.5")["changed"] is True
    assert "10.0.0.5 registry.example.com" in (host / "hosts").read_text()
    assert [path.name for path in host.iterdir()] == ["hosts"]


def test_any_other_error_is_told(invoke: Invoke, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(host / "hosts"))

    monkeypatch.setattr(os, "replace", full)
    assert "No space left" in client(invoke, host, address="10.0.0.5")["msg"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"registry": "https://registry.example.com"}, ["without a scheme", "https://"]),
        ({"registry": "../../etc"}, ["host:port"]),
        ({"address": "control"}, ["IPv4", "'control'"]),
        ({"address": "::1"}, ["IPv4"]),
        ({"registry": "10.0.0.5:5000", "address": "10.0.0.6"}, ["10.0.0.5:5000", "an address itself"]),
        ({"ca_certificates": "-----BEGIN PRIVATE KEY-----"}, ["no certificate"]),
    ],
)
def test_bad_input_changes_nothing(invoke: Invoke, host: Path, arguments: dict[str, Any], words: list[str]) -> None:
    result = client(invoke, host, **arguments)
    assert result["failed"]
    assert [word for word in words if word not in result["msg"]] == [], result["msg"]
    assert not (host / "docker").exists()
    assert (host / "hosts").read_text() == NAMES
