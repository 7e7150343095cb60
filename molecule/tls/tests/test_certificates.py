# SPDX-License-Identifier: MIT
"""Who shows which certificate, who trusts it, and who does not."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node
from wire import certificate, chain

from testbed.cluster import Run
from testbed.common import TestbedError
from testbed.developer import Developer

ROOT_KEY = f"{expected.DIRECTORY}/gateway/authority/root.key"
NAMES = ("trigger.tls", "registry.trigger.tls")
BEGIN = "-----BEGIN CERTIFICATE-----"
# How a program says that it does not know who has signed.
UNKNOWN = ("x509: certificate signed by unknown authority", "certificate is not trusted")


def test_the_authority_is_on_every_host(deployment: Deployment) -> None:
    found = {node.name: node.read(expected.AUTHORITY_FILE) for node in deployment.nodes}
    assert len(found) == 4
    assert len(set(found.values())) == 1
    trusted = {
        node.name: node.read(f"/etc/docker/certs.d/{deployment.registry}/ca.crt")
        for node in deployment.nodes
        if expected.CONTROL_GROUP not in node.groups
    }
    assert {text[text.index(BEGIN) :] for text in trusted.values()} == set(found.values())


def test_the_authority_lives_ten_years(control: Node) -> None:
    root = x509.load_pem_x509_certificate(control.read(expected.AUTHORITY_FILE).encode())
    life = root.not_valid_after_utc - root.not_valid_before_utc
    assert timedelta(days=3649) <= life <= timedelta(days=3653)
    assert root.not_valid_before_utc <= datetime.now(UTC)
    constraints = root.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value.ca
    assert root.subject == root.issuer


def test_the_authority_is_limited_to_the_names_of_the_installation(deployment: Deployment, control: Node) -> None:
    """People import it into their browsers."""
    root = x509.load_pem_x509_certificate(control.read(expected.AUTHORITY_FILE).encode())
    constraints = root.extensions.get_extension_for_class(x509.NameConstraints)
    assert constraints.critical
    permitted = {str(one.value) for one in constraints.value.permitted_subtrees or []}
    assert permitted == {*NAMES, "worker1.tls", f"{deployment.private_address}/32"}


def test_its_key_is_for_the_gateway_alone(deployment: Deployment, control: Node) -> None:
    assert control.output("stat -c '%%a %%u' %s", ROOT_KEY) == "600 65532"
    for node in deployment.nodes:
        keys = node.output("grep -rlsF 'PRIVATE KEY' /opt/trigger /etc/docker || true").split()
        assert [key for key in keys if node != control or not key.startswith("/opt/trigger/gateway/")] == []


@pytest.mark.parametrize("name", NAMES)
def test_chains_verify_from_every_host(deployment: Deployment, name: str) -> None:
    for node in deployment.nodes:
        seen = chain(node, name)
        assert seen.rc == 0, f"{node.name}: {seen.stdout[-500:]}"
        assert "Verify return code: 0 (ok)" in seen.stdout
        assert "Trigger.dev authority" in seen.stdout


def test_another_name_and_another_authority_are_noticed(machine: Node) -> None:
    """Guards the test above."""
    assert chain(machine, "trigger.tls", host="registry.trigger.tls").rc != 0
    own = "openssl s_client -connect trigger.tls:443 -servername trigger.tls -verify_return_error </dev/null"
    assert machine.run(own).rc != 0


def test_a_name_that_nobody_has_chosen_gets_no_certificate(machine: Node) -> None:
    seen = machine.run("openssl s_client -connect trigger.tls:443 -servername nobody.tls </dev/null 2>&1")
    assert "BEGIN CERTIFICATE" not in seen.stdout


def test_nothing_is_declared_insecure(deployment: Deployment) -> None:
    for node in deployment.nodes:
        settings = node.run("cat /etc/docker/daemon.json")
        declared = json.loads(settings.stdout) if settings.rc == 0 else {}
        assert not declared.get("insecure-registries"), node.name
        known = json.loads(node.output("docker info --format '{{json .RegistryConfig}}'"))
        assert known["InsecureRegistryCIDRs"] == ["127.0.0.0/8"], node.name
        assert [name for name, row in known["IndexConfigs"].items() if not row["Secure"]] == [], node.name


def test_a_developer_logs_in_and_nobody_with_another_password(developer: Developer) -> None:
    assert "Login Succeeded" in developer.login()
    developer.machine_runs("docker", "logout", developer.registry)
    for user, password in (("trigger", "of-nobody"), ("nobody", None)):
        with pytest.raises(TestbedError, match=r"401 Unauthorized|unauthorized"):
            developer.login(user, password)


def test_a_machine_that_does_not_know_the_authority_refuses(machine: Node, developer: Developer) -> None:
    """What the other tests do from this machine they do because of one file."""
    folder = f"/etc/docker/certs.d/{developer.registry}"
    machine.output("mv %s %s.away", folder, folder)
    try:
        with pytest.raises(TestbedError) as refusal:
            developer.login()
    finally:
        machine.output("mv %s.away %s", folder, folder)
    assert any(words in str(refusal.value) for words in UNKNOWN), refusal.value
    call = "import urllib.request; urllib.request.urlopen('https://trigger.tls/healthcheck')"
    assert "CERTIFICATE_VERIFY_FAILED" in machine.run("python3 -c %s", call).stderr


@pytest.fixture(scope="module")
def plain(developer: Developer) -> Run:
    """A run whose image carries no CA."""
    return developer.run({"issuers": [f"https://{name}" for name in NAMES]})


def test_a_task_that_does_not_know_the_authority_uses_the_private_address(plain: Run, deployment: Deployment) -> None:
    assert plain.status == "COMPLETED"
    assert {name: plain.output[name] for name in ("origin", "issuer", "api", "supervisor", "otel")} == {
        "origin": f"http://{deployment.private_address}:8080",
        "issuer": None,
        "api": 200,
        "supervisor": 200,
        "otel": 200,
    }
    # There the registry is, and tasks do not need it.
    assert all("Connection refused" in issuer for issuer in plain.output["issuers"].values())


def test_a_large_output_goes_to_the_object_store_the_same_way(plain: Run, developer: Developer) -> None:
    """A runner that cannot put it there fails."""
    assert plain.status == "COMPLETED"
    assert developer.run({"pad": 200_000}).status == "COMPLETED"


def test_supervisors_call_over_https(worker: Node) -> None:
    pairs = dict(pair.split("=", 1) for pair in worker.container("trigger-supervisor-supervisor-1")["Config"]["Env"])
    assert pairs["TRIGGER_API_URL"] == "https://trigger.tls"
    inside = worker.output("docker exec trigger-supervisor-supervisor-1 cat %s", pairs["NODE_EXTRA_CA_CERTS"])
    assert inside == worker.read(expected.AUTHORITY_FILE)
    assert "Connected to platform" in worker.logs("trigger-supervisor-supervisor-1")


def test_all_names_share_one_authority(machine: Node) -> None:
    seen = {name: certificate(machine, name) for name in NAMES}
    assert len({row["serial"] for row in seen.values()}) == len(NAMES)
    assert len({row["issuer"] for row in seen.values()}) == 1
