# SPDX-License-Identifier: MIT
"""One play after the other: the operator's certificates, their renewal, users that change, an ACME server, and back.

On the way back the registry moves to a host of its own.
"""

from __future__ import annotations

import base64
import datetime
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from machines import now
from test_renewal import worker_headers
from verification import expected
from verification.deployment import Deployment, Play
from verification.nodes import Node, eventually
from verification.rotation import Rotated, rotate
from verification.secrets import Secrets, leaks
from wire import GATEWAY, Held, Reply, certificate, chain, hold, send, send_all

from testbed.cluster import Run, address
from testbed.common import TestbedError
from testbed.developer import Developer

pytestmark = pytest.mark.changes

NAMES = ("trigger.tls", "registry.trigger.tls", "objects.trigger.tls")
PASSWORDS = {"first": "ci $first' \"#% password", "second": "ci-second-password", "gone": "of-who-goes-away"}
ADDRESSES = {"trigger_private_address": "", "gateway_runner_trusts_ca": True}
CLIENT = "selfhosted.trigger_dev.registry_client"
# Of the page of the status, with the type that each of its paths has.
PAGE = {"status_schedule": "hourly", "status_page_enabled": True}
PAGE_TYPES = {"/-/status": "text/html; charset=utf-8", "/-/status.json": "application/json"}
# Generated secret -> path that asks for it, and the user.
SECRET_LOGINS = {"status_page_password": ("/-/status", "admin")}
USERS = f"{expected.DIRECTORY}/gateway/config/status-users.caddy"
DAY = datetime.timedelta(days=1)


def authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """A CA of the operator's own."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key, signed("Operator's authority", key, None, key)


def signed(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: x509.Certificate | None, signer: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    """A certificate for the names of the scenario, or for a CA where nobody signs."""
    now = datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + 90 * DAY)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer:
        names = x509.SubjectAlternativeName([x509.DNSName(each) for each in NAMES])
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = builder.add_extension(names, critical=False).add_extension(identifier, critical=False)
    return builder.sign(signer, hashes.SHA256())


def write(folder: Path, name: str, made: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """Write a certificate and its key; give the settings that name them."""
    shown, private = folder / f"{name}.pem", folder / f"{name}.key"
    shown.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.touch(mode=0o600)
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"gateway_certificate_file": str(shown), "gateway_certificate_key_file": str(private)}


def users(**passwords: str) -> list[dict[str, str]]:
    """Users of the registry."""
    return [{"name": name, "password": password} for name, password in passwords.items()]


@dataclass(frozen=True)
class Page:
    """The page of the status: its answers by path, without a login, with a wrong one, and with the right one."""

    replies: dict[str, tuple[Reply, Reply, Reply]]
    facts: dict[str, Any]
    configuration: str
    users: str


def basic(user: str, password: str) -> dict[str, str]:
    """Give the header of a login."""
    return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}


def page_of(control: Node, machine: Node, secrets: Secrets) -> Page:
    """Let the timer's program write the page, and ask the gateway for it from elsewhere."""
    control.run("systemctl start trigger-status.service")  # it fails where anything of the host is wrong
    headers = [basic("admin", secrets[name]) for name in ("monitoring_password", "status_page_password")]
    replies: dict[str, tuple[Reply, Reply, Reply]] = {}
    for path in PAGE_TYPES:
        none, wrong, right = send_all(
            machine, [["trigger.tls", 443, True, "GET", path, login, None] for login in ({}, *headers)]
        )
        replies[path] = none, wrong, right
    folder = f"{expected.DIRECTORY}/gateway"
    texts = [control.read(f"{folder}/{name}") for name in ("compose.yml", "config/Caddyfile")]
    return Page(replies, control.facts(), "\n".join(texts), control.read(USERS))


@dataclass(frozen=True)
class Files:
    """The plays with certificates of the operator's, and what was seen between and after them."""

    first: Play
    second: Play
    shown: tuple[dict[str, str], dict[str, str]]
    chains: dict[str, bool]
    run: Run
    large: Run
    logins: tuple[dict[str, bool], dict[str, bool]]
    held: dict[str, Any]
    last_run: Run
    page: Page
    users: str
    values: dict[str, Any] = field(repr=False)


def accepted(developer: Developer, **logins: str) -> dict[str, bool]:
    """Tell who is let in, by `user` or `user__which`."""
    found: dict[str, bool] = {}
    for who, password in logins.items():
        try:
            developer.login(who.partition("__")[0], password)
        except TestbedError as refusal:
            if "401" not in str(refusal) and "unauthorized" not in str(refusal):
                raise
            found[who] = False
        else:
            found[who] = True
            developer.machine_runs("docker", "logout", developer.registry)
    return found


def client(deployment: Deployment, values: dict[str, Any], scratch: Path) -> Play:
    """Prepare the developer's machine."""
    return deployment.play(values=values, scratch=scratch, playbook=CLIENT)


@pytest.fixture(scope="module")
def files(
    deployment: Deployment,
    control: Node,
    machine: Node,
    developer: Developer,
    trusting: Developer,
    secrets: Secrets,
    tmp_path_factory: pytest.TempPathFactory,
) -> Files:
    """Two plays: the operator's certificates and two users, then a renewed certificate and other passwords."""
    folder = tmp_path_factory.mktemp("files")
    root_key, root = authority()
    key = ec.generate_private_key(ec.SECP256R1())
    (folder / "ca.pem").write_bytes(root.public_bytes(serialization.Encoding.PEM))
    values: dict[str, Any] = {"gateway_tls": "files", "gateway_ca_file": str(folder / "ca.pem"), **ADDRESSES, **PAGE}
    values |= write(folder, "first", signed("first", key, root, root_key), key)
    values["registry_users"] = users(ci=PASSWORDS["first"], gone=PASSWORDS["gone"])
    first = deployment.play("-vvv", "--diff", values=values, scratch=folder)
    assert first.code == 0, first.ending()
    assert client(deployment, values, folder).code == 0
    chains = {f"{node.name} {name}": chain(node, name).rc == 0 for node in deployment.nodes for name in NAMES}
    shown = certificate(machine, "trigger.tls")
    page = page_of(control, machine, secrets)
    old = secrets["registry_password"]
    before = accepted(developer, ci=PASSWORDS["first"], gone=PASSWORDS["gone"], trigger=old)
    trusted = now(deployment, trusting)
    run = trusted.run({"issuers": [f"https://{name}" for name in NAMES]})
    large = trusted.run({"pad": 200_000})

    renewed = ec.generate_private_key(ec.SECP256R1())
    values |= write(folder, "second", signed("second", renewed, root, root_key), renewed)
    values["registry_users"] = users(ci=PASSWORDS["second"])
    values["trigger_secrets"] = {
        "registry_password": "another-password-of-the-registry",
        "registry_pull_password": "another-password-of-workers",
    }
    held: Held = hold(machine, "trigger.tls", worker_headers(deployment, secrets))
    second = deployment.play("-vvv", "--diff", values=values, scratch=folder)
    assert second.code == 0, second.ending()
    new = certificate(machine, "trigger.tls")
    fared = held.end()
    after = accepted(
        developer,
        ci=PASSWORDS["second"],
        ci__old=PASSWORDS["first"],
        gone=PASSWORDS["gone"],
        trigger="another-password-of-the-registry",
        trigger__old=old,
    )
    # An image that a worker does not have is pulled with the new password.
    for worker in deployment.workers:
        worker.output(
            "docker image ls --quiet %s | sort -u | xargs -r docker image rm --force",
            f"{deployment.registry}/trigger/*",
        )
    last_run = trusted.run()
    logins, seen = (before, after), (page, control.read(USERS))
    return Files(first, second, (shown, new), chains, run, large, logins, fared, last_run, *seen, values)


def test_the_operators_certificate_is_shown(files: Files) -> None:
    assert all("Operator" in shown["issuer"] for shown in files.shown)
    assert {name for name, verified in files.chains.items() if not verified} == set()
    assert len(files.chains) == 12


def test_everything_is_https_when_the_images_carry_the_authority(files: Files) -> None:
    assert files.run.status == "COMPLETED"
    assert files.run.output["origin"] == "https://trigger.tls"
    assert files.run.output["issuer"] == "Operator's authority"
    assert set(files.run.output["issuers"].values()) == {"Operator's authority"}


def test_large_outputs_take_https_too(files: Files) -> None:
    assert files.large.status == "COMPLETED"


def test_nothing_is_open_for_plain_http_then(files: Files, deployment: Deployment) -> None:
    assert files.second.code == 0
    places = [f"{deployment.private_address}:{port}" for port in (8080, 9080, 443)]
    assert list(deployment.workers[0].connects(places).values()) == [False, False, True]


def test_a_renewed_certificate_is_taken_without_a_break(files: Files) -> None:
    assert files.shown[0]["serial"] != files.shown[1]["serial"]
    assert files.held["websocket"] == "answers"
    assert files.held["upload"] == 200
    assert {status for status, _ in files.held["polls"]} == {200}
    assert len(files.held["polls"]) >= 2


def test_passwords_change_and_users_go(files: Files) -> None:
    assert files.logins[0] == {"ci": True, "gone": True, "trigger": True}
    assert files.logins[1] == {"ci": True, "ci__old": False, "gone": False, "trigger": True, "trigger__old": False}


def test_workers_pull_with_the_new_password(files: Files) -> None:
    assert files.last_run.status == "COMPLETED"


def test_no_password_and_no_key_was_shown(files: Files, secrets: Secrets) -> None:
    told = secrets.and_also(**PASSWORDS)
    for play in (files.first, files.second):
        assert leaks(play.output, told) == set()
        assert "PRIVATE KEY" not in play.output


@pytest.mark.parametrize("path", PAGE_TYPES)
def test_the_page_of_the_status_asks_for_its_password(files: Files, path: str) -> None:
    *refused, shown = files.page.replies[path]
    for reply in refused:
        assert (reply.status, reply.body) == (401, "")
        assert reply.headers["www-authenticate"] == 'Basic realm="Trigger.dev status"'
    assert (shown.status, shown.headers["content-type"]) == (200, PAGE_TYPES[path])
    for reply in files.page.replies[path]:
        assert reply.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in shown.headers["content-security-policy"]


def test_the_page_of_the_status_tells_of_the_control_host(files: Files, deployment: Deployment, control: Node) -> None:
    report = json.loads(files.page.replies["/-/status.json"][2].body)
    (host,) = report["hosts"]
    assert (report["scope"], host["name"]) == ("local", control.name)
    rows = {check["what"]: check for check in host["checks"]}
    assert rows["trigger-gateway/gateway"]["ok"]
    for name in NAMES:
        assert rows[f"https {name}"]["ok"], rows[f"https {name}"]
        assert "its certificate has 90 days left" in rows[f"https {name}"]["detail"]
    for worker in deployment.workers:
        assert rows[f"heartbeat of {worker.name}"]["ok"], rows[f"heartbeat of {worker.name}"]
    assert not rows["drift of trigger-gateway"]["warning"], rows["drift of trigger-gateway"]
    assert "trigger-gateway/gateway" in files.page.replies["/-/status"][2].body


def test_nobody_on_the_host_reads_the_page_but_root_and_the_gateway(files: Files) -> None:
    found = {path: row[:4] for path, row in files.page.facts["files"].items() if path.startswith("status")}
    assert found["status"] == ["folder", 0o700, 0, 0]
    assert found["status/page"] == ["folder", 0o750, 0, 65532]
    for name in ("status.html", "status.json"):
        assert found[f"status/page/{name}"] == ["file", 0o640, 0, 65532]
    assert files.page.facts["files"]["gateway/config/status-users.caddy"][:4] == ["file", 0o400, 65532, 65532]
    mounts = {row["Destination"]: row for row in files.page.facts["containers"][GATEWAY]["Mounts"]}
    assert mounts["/srv/status"]["Source"] == f"{expected.DIRECTORY}/status/page"
    assert not mounts["/srv/status"]["RW"]


def test_the_password_of_the_page_is_nowhere_but_in_the_secrets_file(files: Files, secrets: Secrets) -> None:
    own = {"status_page_password": secrets["status_page_password"]}
    page = files.page
    shown = [reply.body for replies in page.replies.values() for reply in replies]
    texts = [*shown, page.configuration, page.users, json.dumps(page.facts), files.first.output, files.second.output]
    assert [number for number, text in enumerate(texts) if leaks(text, own)] == []
    hashed = page.users.split()[1]
    assert [number for number, text in enumerate(texts) if hashed in text and text != page.users] == []
    assert [path for path, (*_, right) in page.replies.items() if leaks(right.body, secrets)] == []


def test_the_hash_of_the_page_is_made_once(files: Files) -> None:
    name, hashed = files.page.users.split()
    assert (name, hashed[:7]) == ("admin", "$2y$10$")
    assert files.users == files.page.users


@pytest.fixture(scope="module")
def rotated(deployment: Deployment, files: Files, tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    """Replace the password of the page."""
    assert files.second.code == 0
    scratch = tmp_path_factory.mktemp("rotated")
    return rotate(deployment, "--diff", names=SECRET_LOGINS, values=files.values, scratch=scratch)


@pytest.mark.soak
def test_the_password_of_the_page_is_replaced_and_no_other_secret(rotated: Rotated) -> None:
    assert rotated.play.code == 0, rotated.play.ending()
    assert "Open the page of the status with the new status_page_password" in rotated.play.text
    assert rotated.replaced == set(SECRET_LOGINS)
    assert rotated.shown == set()


@pytest.mark.soak
@pytest.mark.parametrize("name", SECRET_LOGINS)
def test_the_new_password_opens_and_the_old_one_does_not(machine: Node, rotated: Rotated, name: str) -> None:
    path, user = SECRET_LOGINS[name]
    logins = [basic(user, each[name]) for each in (rotated.new, rotated.old)]
    assert [send(machine, "trigger.tls", path, headers=login).status for login in logins] == [200, 401]


@dataclass(frozen=True)
class Acme:
    """The play with an ACME server."""

    play: Play
    shown: dict[str, dict[str, str]]
    chains: dict[str, bool]
    renewed: dict[str, str]
    otel: dict[str, int]
    metrics: int
    page: Reply
    left: list[str]


@pytest.fixture(scope="module")
def acme(
    deployment: Deployment, control: Node, machine: Node, rotated: Rotated, tmp_path_factory: pytest.TempPathFactory
) -> Acme:
    """A play with pebble's certificates and two doors that are usually otherwise; then the certificates are lost."""
    assert rotated.play.code == 0
    folder = tmp_path_factory.mktemp("acme")
    # Where prepare.yml has left it.
    folders = Path(deployment.inventory).resolve().parents
    (server,) = (folder / "pebble-ca.pem" for folder in folders if (folder / "pebble-ca.pem").exists())
    fetch = (
        "import ssl, urllib.request; print(urllib.request.urlopen('https://developer.tls:15000/roots/0',"
        " context=ssl.create_default_context(cafile='/srv/pebble/cert.pem')).read().decode())"
    )
    (folder / "root.pem").write_text(machine.output("python3 -c %s", fetch) + "\n")
    values = {
        "gateway_tls": "acme",
        "gateway_acme_directory_url": "https://developer.tls:14000/dir",
        "gateway_acme_ca_file": str(server),
        "gateway_ca_file": str(folder / "root.pem"),
        "gateway_otel_clients": [f"{address(machine.name)}/32"],
        "gateway_metrics_enabled": True,
    }
    play = deployment.play("--diff", values=values, scratch=folder)
    assert play.code == 0, play.ending()
    assert client(deployment, values, folder).code == 0
    names = NAMES[:2]
    shown = {name: certificate(machine, name) for name in names}
    chains = {f"{node.name} {name}": chain(node, name).rc == 0 for node in deployment.nodes for name in names}
    kind = {"Content-Type": "application/json"}
    otel: dict[str, int] = {}
    for node in deployment.nodes:
        otel[node.name] = send(node, "trigger.tls", "/otel/v1/traces", "POST", headers=kind, body="{}").status
    metrics = send(machine, "trigger.tls", "/metrics").status
    page, left = send(machine, "trigger.tls", "/-/status"), page_left(control)
    control.output("rm -r %s/gateway/data/caddy/certificates", expected.DIRECTORY)
    control.output("docker restart %s", GATEWAY)
    renewed = wait_for(machine, {row["serial"] for row in shown.values()})
    return Acme(play, shown, chains, renewed, otel, metrics, page, left)


def page_left(control: Node) -> list[str]:
    """Name what there is of the page of the status."""
    facts = control.facts()
    files = [
        path for path in facts["files"] if "status" in path.partition("/")[0] or path.endswith("status-users.caddy")
    ]
    mounts = [row["Source"] for row in facts["containers"][GATEWAY]["Mounts"] if "status" in row["Source"]]
    units = control.run("systemctl list-unit-files 'trigger-status*' --no-legend").stdout.splitlines()
    lines = [
        line for line in control.read(f"{expected.DIRECTORY}/gateway/config/Caddyfile").splitlines() if "/-/" in line
    ]
    return [*files, *mounts, *units, *lines]


def wait_for(machine: Node, old: set[str]) -> dict[str, str]:
    """Wait for a certificate that was not there before."""

    def another() -> dict[str, str] | None:
        try:
            found = certificate(machine, "trigger.tls")
        except AssertionError:
            return None
        return found if found.get("serial") not in old else None

    found = eventually(another)
    assert found, "no new certificate"
    return dict(found)


def test_certificates_come_from_the_acme_server(acme: Acme) -> None:
    assert {"Pebble" in row["issuer"] for row in acme.shown.values()} == {True}
    assert {name for name, verified in acme.chains.items() if not verified} == set()


def test_a_lost_certificate_is_issued_again(acme: Acme) -> None:
    assert "Pebble" in acme.renewed["issuer"]
    assert acme.renewed["serial"] not in {row["serial"] for row in acme.shown.values()}


def test_telemetry_can_be_limited(acme: Acme, deployment: Deployment, machine: Node) -> None:
    allowed = {machine.name, *(worker.name for worker in deployment.workers)}
    assert {name for name, status in acme.otel.items() if status == 200} == allowed
    assert acme.otel[deployment.control.name] == 403


def test_nothing_stays_of_the_page_of_the_status(acme: Acme) -> None:
    """Its path is one of the webapp's again."""
    assert acme.left == []
    assert acme.page.status in (302, 404)
    assert "www-authenticate" not in acme.page.headers


def test_metrics_can_be_asked_for(acme: Acme) -> None:
    assert acme.metrics == 200


@dataclass(frozen=True)
class Back:
    """The last play: the CA of the beginning, and the registry on a host of its own."""

    play: Play
    root: tuple[str, str]
    run: Run
    registry: Node
    shown: dict[str, str]
    chains: dict[str, bool]


@pytest.fixture(scope="module")
def back(
    deployment: Deployment,
    acme: Acme,
    machine: Node,
    developer: Developer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Back:
    """Go back to the CA of the deployment's own, and move the registry to a worker."""
    assert acme.play.code == 0
    folder = tmp_path_factory.mktemp("back")
    assert developer.cluster.door
    host = deployment.workers[0]
    (folder / "registry.json").write_text(json.dumps({"trigger_registry": {"hosts": {host.name: {}}}}))
    options, values = ("-i", str(folder / "registry.json")), {"trigger_registry_host": host.name}
    play = deployment.play(*options, values=values, scratch=folder)
    assert play.code == 0, play.ending()
    prepared = deployment.play(*options, values=values, scratch=folder, playbook=CLIENT)
    assert prepared.code == 0, prepared.ending()
    chains = {node.name: chain(node, host.name).rc == 0 for node in deployment.nodes}
    again = replace(now(deployment, developer), registry=host.name, registry_address=address(host.name))
    assert again.cluster.door
    root = (developer.cluster.door.authority, again.cluster.door.authority)
    return Back(play, root, again.run(), host, certificate(machine, host.name), chains)


def test_the_authority_was_made_once(back: Back) -> None:
    assert back.root[0].strip() == back.root[1].strip()


def test_runs_go_through_again(back: Back, deployment: Deployment) -> None:
    assert back.run.status == "COMPLETED"
    assert back.run.output["origin"] == f"http://{deployment.private_address}:8080"


def test_the_registry_has_a_host_and_a_gateway_of_its_own(back: Back) -> None:
    """Its certificate comes from the control host's CA, which every host knows."""
    listed = back.registry.output("docker ps --format '{{.Names}}'").split()
    assert {"trigger-registry-trigger-registry-1", GATEWAY} <= set(listed)
    assert "Trigger.dev" in back.shown["issuer"]
    assert {name for name, verified in back.chains.items() if not verified} == set()
    key = f"{expected.DIRECTORY}/gateway/authority"
    assert back.registry.run("test -e %s", key).rc != 0, "the CA's key belongs on the control host alone"


def test_images_come_from_there(back: Back, deployment: Deployment) -> None:
    pulled = [
        line
        for worker in deployment.workers
        for line in worker.output("docker image ls --format '{{.Repository}}'").splitlines()
        if line.startswith(f"{back.registry.name}/trigger/proj_")
    ]
    assert pulled
