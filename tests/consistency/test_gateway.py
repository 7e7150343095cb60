# SPDX-License-Identifier: MIT
"""What the gateway is configured to do, done by the genuine Caddy on the loopback."""

from __future__ import annotations

import base64
import contextlib
import gzip
import http.client
import http.server
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.selfhosted.trigger_dev.plugins.filter.names_outside_ca import names_outside_ca
from passlib.hash import bcrypt

from tests.consistency.conftest import SECRETS
from tests.plays import render_cases, template

ROOT = Path(__file__).resolve().parents[2]
CADDY = Path(sys.executable).with_name("caddy")
NAMES = ("trigger.example.com", "registry.trigger.example.com", "objects.trigger.example.com")
HOST = PRIVATE = "control.example.com"
STORED = gzip.compress(b"an object that is stored compressed")
# Of the registry; a name may hold a blank, and a password whatever a header can carry.
USERS = {
    "trigger": SECRETS["registry_password"],
    "trigger-pull": SECRETS["registry_pull_password"],
    'an "na\\': "p@ssword",
}
# Longer than the minute after which Caddy tries again to store what it was cleaning up around (seen on a busy machine).
WAIT_SECONDS = 90


# As the registry has them; one who was not there yet gets a hash of its own.
HTPASSWD = "".join(
    f"{name}:{bcrypt.using(rounds=4, ident='2y').hash(USERS[name])}\n" for name in ("trigger", "trigger-pull")
)


PAGE_USERS = f"admin {bcrypt.using(rounds=4, ident='2y').hash(SECRETS['status_page_password'])}\n"


def free_ports(*names: str) -> dict[str, int]:
    """Give ports that nobody listens on, all of them different."""
    with contextlib.ExitStack() as stack:
        probes = {name: stack.enter_context(socket.socket()) for name in names}
        for probe in probes.values():
            probe.bind(("127.0.0.1", 0))
        return {name: int(probe.getsockname()[1]) for name, probe in probes.items()}


def parts(control: str, registry: str) -> dict[str, Any]:
    """Say which host is the control host, and which the registry's."""
    return {"__trigger_control_hosts": [control], "__trigger_registry_hosts": [registry]}


PAGE = {"status_schedule": "hourly", "status_page_enabled": True}
NEW_PASSWORD = "of-the-page-from-now-on"
PAGE_PATHS = {"/-/status": "<!doctype html>\n<p>a page</p>\n", "/-/status.json": '{"ok": true}\n'}

# What the settings of each case are, beside the origin; ports are chosen when the test runs.
CASES: dict[str, dict[str, Any]] = {
    "internal": {
        "gateway_tls": "internal",
        "trigger_private_address": PRIVATE,
        "gateway_otel_clients": ["192.0.2.0/24"],
        "webapp_object_store": "minio",
        "gateway_minio_console_host": "console.trigger.example.com",
        **PAGE,
    },
    "open": {
        "trigger_version": "v4.5.12",
        "gateway_tls": "internal",
        "gateway_runner_trusts_ca": True,
        "gateway_metrics_enabled": True,
        "gateway_closed_paths": ["/api/v1/query", "/api/v2/other"],
    },
    "other-port": {
        "trigger_origin": "https://trigger.example.com:8443",
        "gateway_tls": "internal",
        "gateway_https_port": 8443,
        "gateway_runner_trusts_ca": True,
    },
    "off": {
        "gateway_tls": False,
        "gateway_trusted_proxies": ["127.0.0.1"],
        "gateway_otel_clients": ["198.51.100.0/24"],
        **PAGE,
    },
    "off-elsewhere": {
        "gateway_tls": "off",
        "gateway_trusted_proxies": ["192.0.2.7"],
        "monitoring_enabled": True,
        **PAGE,
    },
    "acme": {
        "gateway_acme_email": "ops@example.com",
        "gateway_acme_directory_url": "https://ca.example.com/dir",
        "gateway_acme_ca_file": str(ROOT / "LICENSE"),
    },
    "nowhere": {
        "gateway_tls": "internal",
        "trigger_private_address": PRIVATE,
        "__trigger_host": {"host": {"sources": {"public": "", "private": "fe80::1%eth0"}}},
    },
    "registry-host": {
        "gateway_tls": "internal",
        "trigger_private_address": PRIVATE,
        **PAGE,
        **parts("elsewhere", HOST),
    },
    "private-address": {
        "gateway_tls": "internal",
        "trigger_private_address": "192.0.2.17",
        "gateway_ca_names": ["planned.example.org"],
    },
    "new-password": {
        "gateway_tls": "internal",
        "trigger_private_address": PRIVATE,
        "__trigger_secret_file": {"secret_file": {"secrets": SECRETS | {"status_page_password": NEW_PASSWORD}}},
        **PAGE,
    },
    "signing": {"gateway_tls": "internal", "gateway_runner_trusts_ca": True, **parts(HOST, "elsewhere")},
}


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Case -> its Caddyfile and Compose definition."""
    given = {
        "__caddyfile": template("gateway/templates/Caddyfile.j2"),
        "trigger_origin": "https://trigger.example.com",
        "__trigger_secret_file": {"secret_file": {"secrets": SECRETS}},
        "__trigger_registry_hashes": {"htpasswd": {"content": HTPASSWD}},
        # As an earlier run has written it.
        "__gateway_page_hashes": {"htpasswd": {"content": PAGE_USERS}},
        "registry_users": [{"name": 'an "na\\', "password": USERS['an "na\\']}],
        "registry_bcrypt_cost": 4,
        # What `docker network inspect` tells of the containers.
        "__webapp_front": {"stdout": "trigger-webapp-webapp-1 172.18.0.5/16\n\nof-another-kind \n"},
        "__trigger_host": {"host": {"sources": {"public": "192.0.2.17", "private": "192.0.2.17"}}},
        **parts(HOST, HOST),
    }
    return render_cases(
        tmp_path_factory.mktemp("gateway"),
        *("trigger", "registry", "webapp", "gateway"),
        host=HOST,
        wanted={
            "caddyfile": "__caddyfile",
            "writers": "__gateway_registry_writers",
            "page_users": "__gateway_page_users",
            "needed": "__gateway_needed_paths",
            "htpasswd": "__registry_htpasswd_file.content",
            "definition": "__gateway_definition",
            "behind": "[__webapp_definition.services, __registry_definition.services]",
            "webapp_url": "__webapp_local_url",
            "bucket_url": "__webapp_bucket_url",
            "endpoints": "__gateway_endpoints",
            "advisories": "__trigger_advisory_text",
            "addresses": "__trigger_client_addresses",
            "faults": "__trigger_client_faults",
            "trial": "__gateway_client_trial",
            "constraints": "__trigger_ca_constraints",
        },
        cases={name: given | case for name, case in CASES.items()},
    )


# Of the path /slow: that it has been asked for, and that it may answer.
SLOW_ASKED, SLOW_MAY_ANSWER = threading.Event(), threading.Event()


class Upstream(http.server.BaseHTTPRequestHandler):
    """Says what it was sent; an upgraded connection gives back what comes in."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.headers.get("Upgrade"):
            self.send_response(101)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.end_headers()
            while data := self.connection.recv(100):
                self.connection.sendall(data)
            return
        if self.path == "/slow":
            SLOW_ASKED.set()
            SLOW_MAY_ANSWER.wait(WAIT_SECONDS)
        body = STORED if self.path == "/packets/stored" else json.dumps(dict(self.headers)).encode()
        self.send_response(200)
        if self.path == "/packets/stored":
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET

    def log_message(self, *_arguments: object) -> None:
        """Nothing."""


class PortTaken(Exception):
    """Somebody listens on a port that was free."""


@dataclass
class Gateway:
    """A running Caddy."""

    folder: Path
    redirecting: int
    https: int
    private: int
    admin: int
    environment: dict[str, str]

    def connection(self, name: str, port: int, *, tls: bool) -> http.client.HTTPConnection:
        """Connect to a name on the loopback, as if the DNS led there."""
        connection = http.client.HTTPConnection(name, port, timeout=WAIT_SECONDS)
        plain = socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS)
        authority = self.folder / "authority/root.crt"
        connection.sock = (
            ssl.create_default_context(cafile=str(authority)).wrap_socket(plain, server_hostname=name) if tls else plain
        )
        return connection

    def ask(
        self, name: str, path: str = "/", *, port: int = 0, tls: bool = True, method: str = "GET", **headers: str
    ) -> tuple[int, bytes, dict[str, str]]:
        """Send a request; header names have underscores for dashes."""
        connection = self.connection(name, port or self.https, tls=tls)
        connection.request(method, path, headers={key.replace("_", "-"): value for key, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, body, {key.lower(): value for key, value in answer.getheaders()}

    def seen(self, name: str, path: str = "/", **options: Any) -> dict[str, str]:
        """Give the headers that reach the service behind."""
        status, body, _ = self.ask(name, path, **options)
        assert status == 200, body
        found: dict[str, str] = json.loads(body)
        return found

    def caddy(self, command: str, *options: str) -> None:
        """Run Caddy on the configuration."""
        subprocess.run(
            [CADDY, command, "--config", self.folder / "Caddyfile", "--adapter", "caddyfile", *options],
            env=self.environment,
            check=True,
            capture_output=True,
        )

    def reload(self) -> None:
        """Take the configuration anew, as after a change."""
        self.caddy("reload", "--force", "--address", f"127.0.0.1:{self.admin}")


def localised(text: str, folder: Path, ports: dict[str, int], upstream: int) -> str:
    """Put paths, ports and services of this test into the place of the container's."""
    text = text.replace("/etc/authority", str(folder / "authority")).replace("/etc/caddy", str(folder))
    text = text.replace("/srv/status", str(folder / "page"))
    text = text.replace("http_port 80\n", f"http_port {ports['http']}\n")
    text = re.sub(r"https_port \d+\n", f"https_port {ports['https']}\n\tadmin 127.0.0.1:{ports['admin']}\n", text)
    text = text.replace(":8080 {", f":{ports['private']} {{").replace(":9080 {", f":{ports['objects']} {{")
    for service in ("webapp:3000", "trigger-registry:5000", "trigger-object-store:9000", "trigger-minio:9001"):
        text = text.replace(f"import upstream {service}", f"import upstream 127.0.0.1:{upstream}")
    return text


@pytest.fixture(scope="module")
def upstream() -> Iterator[int]:
    """Port of the service behind."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield int(server.server_address[1])
    server.shutdown()
    server.server_close()


def configured(folder: Path, case: dict[str, Any], upstream: int, host_address: str = "127.0.0.9") -> Gateway:
    """Write the configuration of a case with everything that it names."""
    (folder / "clients").mkdir()
    (folder / "registry-writers.caddy").write_text(case["writers"])
    (folder / "status-users.caddy").write_text(case["page_users"])
    (folder / "page").mkdir()
    for path, content in PAGE_PATHS.items():
        (folder / "page" / Path(path).with_suffix(Path(path).suffix or ".html").name).write_text(content)
    authority = yaml.safe_load((ROOT / "roles/trigger/tasks/private_ca.yml").read_text())[0]
    script, constraints = authority["vars"]["__trigger_ca_script"], case["constraints"]
    subprocess.run(
        ["sh", "-ec", script, "sh", folder / "authority", "make", str(os.getuid()), constraints],
        check=True,
        capture_output=True,
    )
    ports = free_ports("http", "https", "admin", "private", "objects")
    (folder / "Caddyfile").write_text(localised(case["caddyfile"], folder, ports, upstream))
    environment = os.environ | {
        "HOST_ADDRESS": host_address,
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
    }
    return Gateway(folder, ports["http"], ports["https"], ports["private"], ports["admin"], environment)


@pytest.fixture(scope="module")
def run_gateway(
    tmp_path_factory: pytest.TempPathFactory, rendered: dict[str, dict[str, Any]], upstream: int
) -> Iterator[Callable[..., Gateway]]:
    """Start a Caddy for a case, once."""
    started: list[subprocess.Popen[bytes]] = []

    def run(case: str, host_address: str = "127.0.0.9") -> Gateway:
        # Another program may have got a port before Caddy takes it.
        for _ in range(4):
            with contextlib.suppress(PortTaken):
                return attempt(case, host_address)
        return attempt(case, host_address)

    def attempt(case: str, host_address: str) -> Gateway:
        gateway = configured(tmp_path_factory.mktemp(case), rendered[case], upstream, host_address)
        with (gateway.folder / "log").open("wb") as log:
            command: list[str | Path] = [
                CADDY,
                "run",
                "--config",
                gateway.folder / "Caddyfile",
                "--adapter",
                "caddyfile",
            ]
            started.append(subprocess.Popen(command, env=gateway.environment, stdout=log, stderr=log))
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                if CASES[case]["gateway_tls"] == "internal":
                    gateway.ask("trigger.example.com")
                else:
                    gateway.ask("trigger.example.com", port=gateway.redirecting, tls=False)
            except (OSError, http.client.HTTPException):
                text = (gateway.folder / "log").read_text()
                if started[-1].poll() is not None and "address already in use" in text:
                    raise PortTaken from None
                assert time.monotonic() < deadline, text[-2000:]
                time.sleep(0.1)
            else:
                return gateway

    yield run
    for process in started:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def gateway(run_gateway: Callable[..., Gateway]) -> Gateway:
    """The gateway with a CA of its own and a private address."""
    return run_gateway("internal")


@pytest.fixture(scope="module")
def opened(run_gateway: Callable[..., Gateway]) -> Gateway:
    """The gateway whose CA everybody knows, with metrics."""
    return run_gateway("open")


@pytest.mark.parametrize("case", CASES)
def test_caddy_takes_the_configuration(rendered: dict[str, dict[str, Any]], case: str, tmp_path: Path) -> None:
    gateway = configured(tmp_path, rendered[case], 1)
    (tmp_path / "acme-ca.pem").write_text((tmp_path / "authority/root.crt").read_text())
    gateway.caddy("validate")


def test_the_authority_is_for_the_names_of_the_installation_alone(
    rendered: dict[str, dict[str, Any]], opened: Gateway, tmp_path: Path
) -> None:
    assert rendered["open"]["constraints"] == (
        "critical,permitted;DNS:trigger.example.com,permitted;DNS:objects.trigger.example.com,"
        "permitted;DNS:registry.trigger.example.com,excluded;IP:0.0.0.0/0.0.0.0,excluded;IP:::/::"
    )
    assert f",permitted;DNS:{PRIVATE}," in rendered["internal"]["constraints"]
    assert rendered["private-address"]["constraints"].endswith(
        "permitted;DNS:planned.example.org,permitted;IP:192.0.2.17/255.255.255.255"
    )
    folder = opened.folder / "authority"
    root = (folder / "root.crt").read_text()
    outside = ["example.com", "trigger.example.com.evil.org", "127.0.0.1", "::1"]
    assert names_outside_ca(root, [*NAMES, "new.trigger.example.com", *outside]) == outside
    accepted = {name: verified(folder, tmp_path, name) for name in [*NAMES, "new.trigger.example.com", *outside]}
    assert accepted == {name: name not in outside for name in accepted}


def verified(authority: Path, folder: Path, name: str) -> bool:
    """Certify a name with the key of the authority: openssl and Python agree whether they believe it."""
    kind = "IP" if name[0] in "0123456789:" else "DNS"
    leaf = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    made = ["-CA", f"{authority}/root.crt", "-CAkey", f"{authority}/root.key", "-subj", "/O=x"]
    named = ["-addext", f"subjectAltName={kind}:{name}", "-addext", "basicConstraints=critical,CA:FALSE"]
    files = ["-keyout", f"{folder}/key.pem", "-out", f"{folder}/leaf.pem"]
    subprocess.run([*leaf, *made, *named, *files], check=True, capture_output=True)
    asked = ["openssl", "verify", "-CAfile", f"{authority}/root.crt", f"{folder}/leaf.pem"]
    believed = subprocess.run(asked, check=False, capture_output=True).returncode == 0
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "leaf.pem", folder / "key.pem")
    client = ssl.create_default_context(cafile=str(authority / "root.crt"))
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [server.wrap_bio(to_server, to_client, True), client.wrap_bio(to_client, to_server, server_hostname=name)]
    try:
        for end in [ends[1], ends[0], ends[1]]:
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
    except ssl.SSLCertVerificationError:
        assert not believed
        return False
    assert believed
    return True


@pytest.mark.parametrize("name", NAMES)
def test_names_are_served_with_certificates_of_the_authority(opened: Gateway, name: str) -> None:
    path = "/packets/large" if name.startswith("objects.") else "/"
    assert opened.seen(name, path)["Host"] == f"{name}:{opened.https}"


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/?Action=AssumeRole&Version=2011-06-15",
        "/minio/admin/v3/info",
        "/minio/v2/metrics/cluster",
        "/status",
        "/other/large",
        "/packetsx",
        "/packets/../minio/admin/v3/info",
        "/packets/%2e%2e/minio/admin/v3/info",
        "//minio/admin/v3/info",
    ],
)
def test_the_object_store_is_its_bucket(opened: Gateway, path: str) -> None:
    """At the same port it serves its own administration."""
    assert opened.ask("objects.trigger.example.com", path)[0] == 403
    for allowed in ("/packets", "/packets/", "/packets/a/b?X-Amz-Signature=0"):
        assert opened.ask("objects.trigger.example.com", allowed)[0] == 200


def test_the_s3_api_has_one_address(gateway: Gateway) -> None:
    """Signatures hold for one: with a private address it is there."""
    with pytest.raises(ssl.SSLError):
        gateway.ask("objects.trigger.example.com")
    assert gateway.seen("console.trigger.example.com")


def test_callers_cannot_say_who_they_are(gateway: Gateway) -> None:
    lies: dict[str, Any] = {
        "X_Forwarded_For": "198.51.100.1",
        "X_Forwarded_Host": "evil.example",
        "X_Forwarded_Proto": "http",
        "X_Real_Ip": "198.51.100.1",
        "Forwarded": "for=198.51.100.1;host=evil.example",
    }
    seen = gateway.seen("trigger.example.com", **lies)
    told = {name: seen.get(name) for name in ("X-Forwarded-For", "X-Forwarded-Proto", "X-Real-Ip", "Forwarded")}
    assert told == {"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Proto": "https", "X-Real-Ip": None, "Forwarded": None}
    assert seen["X-Forwarded-Host"] == f"trigger.example.com:{gateway.https}"


@pytest.mark.parametrize("host", ["evil.example", "objects.trigger.example.com"])
def test_another_host_than_that_of_the_connection_is_refused(gateway: Gateway, host: str) -> None:
    assert gateway.ask("trigger.example.com", Host=host)[0] == 421


def test_http_only_redirects(gateway: Gateway) -> None:
    status, _, headers = gateway.ask("trigger.example.com", "/a?b", port=gateway.redirecting, tls=False)
    assert (status, headers["location"]) == (308, "https://trigger.example.com/a?b")
    assert gateway.ask("unknown.example.com", port=gateway.redirecting, tls=False)[0] == 421


def test_redirects_lead_to_another_port_than_443_too(run_gateway: Callable[..., Gateway]) -> None:
    other = run_gateway("other-port")
    status, _, headers = other.ask("registry.trigger.example.com", "/a?b", port=other.redirecting, tls=False)
    assert (status, headers["location"]) == (308, "https://registry.trigger.example.com:8443/a?b")
    assert other.ask("unknown.example.com", port=other.redirecting, tls=False)[0] == 421


def test_an_unknown_name_gets_no_certificate(gateway: Gateway) -> None:
    with pytest.raises(ssl.SSLError):
        gateway.ask("unknown.example.com")


@pytest.mark.parametrize("path", ["/metrics", "/metrics/", "/metrics/x", "/%6detrics", "//metrics", "/METRICS"])
def test_metrics_cannot_be_reached(gateway: Gateway, path: str) -> None:
    assert gateway.ask("trigger.example.com", path)[0] == 404


@pytest.mark.parametrize(
    "path", ["/otel/v1/traces", "/otel/v1/logs", "/otel", "/./otel/v1/traces", "/x/../otel/v1/logs"]
)
def test_telemetry_is_for_named_clients(gateway: Gateway, path: str) -> None:
    assert gateway.ask("trigger.example.com", path)[0] == 403


@pytest.mark.parametrize(
    "path", ["/api/v1/query", "/api/v1/query/", "/api/v1/query/x", "/API/v1//%71uery", "/api/v2/other"]
)
def test_single_paths_can_be_closed(opened: Gateway, path: str) -> None:
    """Until a release without the fault of an advisory is deployed."""
    assert opened.ask("trigger.example.com", path)[0] == 403
    assert opened.ask("trigger.example.com", "/api/v1/queries")[0] == 200


def test_metrics_and_telemetry_can_be_opened(opened: Gateway) -> None:
    assert opened.ask("trigger.example.com", "/metrics")[0] == 200
    assert opened.ask("trigger.example.com", "/otel/v1/traces")[0] == 200


def test_the_private_address_is_for_its_clients(gateway: Gateway) -> None:
    """A worker's file lets it pass, after a reload; a stranger gets nothing."""
    private: dict[str, Any] = {"port": gateway.private, "tls": False}
    assert gateway.ask(PRIVATE, **private)[0] == 403
    client = gateway.folder / "clients/worker.caddy"
    client.write_text("client_ip 127.0.0.1\n")
    gateway.reload()
    try:
        assert gateway.seen(PRIVATE, **private)["X-Forwarded-Proto"] == "http"
        assert gateway.ask("trigger.example.com", **private)[0] == 421
        assert gateway.ask("trigger.example.com", "/otel/v1/traces")[0] == 200
    finally:
        client.unlink()
        gateway.reload()
    assert gateway.ask(PRIVATE, **private)[0] == 403


def test_every_public_name_is_asked_once(rendered: dict[str, dict[str, Any]]) -> None:
    asked = rendered["internal"]["endpoints"]
    assert [(row["url"], row.get("statuses")) for row in asked] == [
        ("https://trigger.example.com/healthcheck", [200]),
        ("https://registry.trigger.example.com/v2/", [200, 401]),
        ("https://console.trigger.example.com", []),
        # A worker that gateway_otel_clients leaves out gets 403 there.
        (f"http://{PRIVATE}:8080/otel/v1/traces", None),
    ]
    assert (asked[-1]["what"], asked[-1]["refused"]) == ("telemetry of this worker", [403])
    assert [row["url"] for row in rendered["other-port"]["endpoints"]] == [
        "https://trigger.example.com:8443/healthcheck",
        "https://registry.trigger.example.com:8443/v2/",
        "https://objects.trigger.example.com:8443",
    ]


def test_a_worker_without_a_known_address_is_refused(rendered: dict[str, dict[str, Any]]) -> None:
    known, unknown = rendered["internal"], rendered["nowhere"]
    assert (known["addresses"], known["faults"]) == (["192.0.2.17"], [])
    assert unknown["addresses"] == []
    assert "no route to trigger.example.com and control.example.com" in unknown["faults"][0]


@pytest.mark.parametrize(
    ("content", "taken"),
    [("client_ip 192.0.2.17 2001:db8::1\n", True), ("client_ip nobody.invalid\n", False), ("client_ip }\n", False)],
)
def test_the_file_of_a_worker_is_read_before_it_is_used(
    rendered: dict[str, dict[str, Any]], tmp_path: Path, content: str, taken: bool
) -> None:
    (tmp_path / "worker.caddy").write_text(content)
    trial = rendered["internal"]["trial"].replace("/etc/caddy/clients", str(tmp_path))
    trial = trial.replace("/tmp/Caddyfile", str(tmp_path / "Caddyfile")).replace("HOME=/tmp", f"HOME={tmp_path}")
    path = f"{CADDY.parent}:{os.environ['PATH']}"
    done = subprocess.run(["sh", "-ec", trial], env={"PATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is taken, done.stderr


def test_a_reload_ends_no_connection(gateway: Gateway) -> None:
    """Neither a WebSocket nor an answer that is being waited for."""
    upgraded = gateway.connection("trigger.example.com", gateway.https, tls=True)
    key = base64.b64encode(b"0123456789abcdef").decode()
    sent = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Key": key, "Sec-WebSocket-Version": "13"}
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    upgraded.sock.sendall(f"GET /ws HTTP/1.1\r\nHost: trigger.example.com\r\n{head}\r\n".encode())
    assert b" 101 " in upgraded.sock.recv(1000)
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(gateway.ask("trigger.example.com", "/slow")[0]))
    waiting.start()
    assert SLOW_ASKED.wait(WAIT_SECONDS)
    gateway.reload()
    assert answers == []
    SLOW_MAY_ANSWER.set()
    waiting.join()
    assert answers == [200]
    upgraded.sock.sendall(b"still here")
    assert upgraded.sock.recv(100) == b"still here"
    upgraded.close()


def basic(name: str, password: str, scheme: str = "Basic") -> dict[str, Any]:
    """Give the header of a login."""
    return {"Authorization": f"{scheme} {base64.b64encode(f'{name}:{password}'.encode()).decode()}"}


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_into_the_registry_write_those_who_may_push(opened: Gateway, method: str) -> None:
    def asked(headers: dict[str, Any]) -> int:
        return opened.ask("registry.trigger.example.com", "/v2/trigger/x", method=method, **headers)[0]

    allowed = {name: asked(basic(name, password)) for name, password in USERS.items()}
    assert allowed == {name: 401 if name == "trigger-pull" else 200 for name in USERS}
    assert asked(basic("trigger-pull", USERS["trigger-pull"], "basic")) == 401
    assert asked(basic("trigger", USERS["trigger-pull"])) == 401
    assert asked(basic("trigger-pull", USERS["trigger"])) == 401


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_from_the_registry_everybody_reads_whom_it_lets_in_itself(opened: Gateway, method: str) -> None:
    for headers in ({}, basic("trigger-pull", USERS["trigger-pull"])):
        assert opened.ask("registry.trigger.example.com", "/v2/", method=method, **headers)[0] == 200


def test_a_client_that_writes_first_is_asked_for_a_login(opened: Gateway) -> None:
    status, _, headers = opened.ask("registry.trigger.example.com", "/v2/x/blobs/uploads/", method="POST")
    assert (status, headers["www-authenticate"]) == (401, 'Basic realm="Trigger.dev"')


def test_the_login_that_the_registry_sees_is_the_one_that_was_sent(opened: Gateway) -> None:
    login = basic("trigger", USERS["trigger"])
    assert opened.seen("registry.trigger.example.com", method="PUT", **login)["Authorization"] == login["Authorization"]


@pytest.mark.parametrize("name", ["trigger.example.com", "objects.trigger.example.com"])
def test_writing_elsewhere_needs_no_login_of_the_registry(opened: Gateway, name: str) -> None:
    assert opened.ask(name, "/packets/x", method="PUT")[0] == 200


def test_hashes_are_those_of_the_registry(rendered: dict[str, dict[str, Any]]) -> None:
    """New ones would be another configuration in every run."""
    kept, pulls = HTPASSWD.splitlines()
    writers, users = rendered["internal"]["writers"].splitlines(), rendered["internal"]["htpasswd"].splitlines()
    assert writers[0] == f"`trigger` {kept.partition(':')[2]}"
    assert len(writers) == 2
    assert [users[0], users[-1]] == [kept, pulls]
    assert len(users) == 3


def test_stored_objects_come_as_they_are(opened: Gateway) -> None:
    """A proxy that unpacks them breaks their checksums."""
    status, body, headers = opened.ask("objects.trigger.example.com", "/packets/stored")
    assert (status, body, headers["content-encoding"]) == (200, STORED, "gzip")


def test_a_proxy_in_front_is_believed_and_has_to_say_https(run_gateway: Callable[..., Gateway]) -> None:
    gateway = run_gateway("off", "127.0.0.1")
    plain: dict[str, Any] = {"port": gateway.redirecting, "tls": False}
    assert gateway.ask("trigger.example.com", **plain)[0] == 400
    assert gateway.ask("trigger.example.com", "/healthcheck", **plain)[0] == 200
    seen = gateway.seen("trigger.example.com", X_Forwarded_Proto="https", X_Forwarded_For="198.51.100.1", **plain)
    assert (seen["X-Forwarded-Proto"], seen["X-Forwarded-For"]) == ("https", "198.51.100.1")


@pytest.mark.parametrize(
    ("told", "status"), [("198.51.100.1", 200), ("203.0.113.1", 403), ("198.51.100.1, 203.0.113.1", 403)]
)
def test_clients_behind_a_proxy_are_who_it_says(run_gateway: Callable[..., Gateway], told: str, status: int) -> None:
    """The last that it says: what stands before that, its caller has said."""
    gateway = run_gateway("off", "127.0.0.1")
    headers = {"X_Forwarded_Proto": "https", "X_Forwarded_For": told}
    answer = gateway.ask("trigger.example.com", "/otel/v1/traces", port=gateway.redirecting, tls=False, **headers)
    assert answer[0] == status


def test_nobody_else_passes_where_a_proxy_is_in_front(run_gateway: Callable[..., Gateway]) -> None:
    gateway = run_gateway("off-elsewhere")
    told: dict[str, Any] = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "198.51.100.1"}
    assert gateway.ask("trigger.example.com", port=gateway.redirecting, tls=False, **told)[0] == 403


@pytest.mark.parametrize("path", PAGE_PATHS)
def test_the_page_of_the_status_is_for_those_who_have_its_password(gateway: Gateway, path: str) -> None:
    name, login = "trigger.example.com", basic("admin", SECRETS["status_page_password"])
    wrong = [
        {},
        basic("admin", "x"),
        basic("trigger", USERS["trigger"]),
        basic("admin", SECRETS["monitoring_password"]),
    ]
    for headers in wrong:
        status, body, told = gateway.ask(name, path, **headers)
        assert (status, body, told["www-authenticate"]) == (401, b"", 'Basic realm="Trigger.dev status"')
        assert told["cache-control"] == "no-store"
    status, body, told = gateway.ask(name, path, **login)
    assert (status, body.decode()) == (200, PAGE_PATHS[path])
    assert told["content-type"] == ("application/json" if path.endswith(".json") else "text/html; charset=utf-8")
    assert (told["cache-control"], told["x-content-type-options"]) == ("no-store", "nosniff")
    assert "default-src 'none'" in told["content-security-policy"]
    assert gateway.ask(name, path, method="POST", **login)[0] == 405


@pytest.mark.parametrize(
    ("path", "status"),
    [("/-/STATUS", 401), ("//-/status", 401), ("/%2d/status", 401), ("/x/../-/status", 401), ("/-/status/", 200)],
)
def test_the_page_of_the_status_takes_no_other_path(gateway: Gateway, path: str, status: int) -> None:
    """What is not the page is the webapp's, and needs no password there."""
    assert gateway.ask("trigger.example.com", path)[0] == status
    for other in (
        "/-/status.html",
        "/-/status/status.html",
        "/-/",
        "/status",
        "/status.html",
        "/-/statusx",
        "/x/-/status",
    ):
        assert gateway.seen("trigger.example.com", other)


def test_the_page_of_the_status_is_under_the_webapps_name_alone(gateway: Gateway) -> None:
    login = basic("admin", SECRETS["status_page_password"])
    for name in ("registry.trigger.example.com", "console.trigger.example.com"):
        assert b"Host" in gateway.ask(name, "/-/status", **login)[1], name
    assert gateway.ask(PRIVATE, "/-/status", port=gateway.private, tls=False, **login)[0] == 403
    status, _, told = gateway.ask("trigger.example.com", "/-/status", port=gateway.redirecting, tls=False)
    assert (status, told["location"]) == (308, "https://trigger.example.com/-/status")


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_the_page_is_there_where_it_is_off(rendered: dict[str, dict[str, Any]], case: str) -> None:
    row = rendered[case]
    served = "status_page_enabled" in CASES[case] and case != "registry-host"
    mounts = [volume for volume in row["definition"]["services"]["gateway"]["volumes"] if "status" in volume]
    assert mounts == (["/opt/trigger/status/page:/srv/status:ro"] if served else [])
    assert ("status" in row["caddyfile"].replace("# What the role status writes", "")) is served
    assert ("/opt/trigger/gateway/config/status-users.caddy" in row["needed"]) is served
    assert SECRETS["status_page_password"] not in json.dumps([row["caddyfile"], row["definition"], row["page_users"]])


def test_the_page_of_the_status_is_no_longer_the_webapps(opened: Gateway) -> None:
    """Where it is off, its path is one of the webapp's as any other."""
    assert opened.seen("trigger.example.com", "/-/status")


def test_the_hash_of_the_page_is_made_once(rendered: dict[str, dict[str, Any]]) -> None:
    """A new one would be another configuration in every run."""
    assert rendered["internal"]["page_users"] == PAGE_USERS
    name, _, made = rendered["new-password"]["page_users"].strip().partition(" ")
    assert (name, bcrypt.verify(NEW_PASSWORD, made)) == ("admin", True)
    assert made not in PAGE_USERS


def test_files_of_what_is_gone_are_not_needed(rendered: dict[str, dict[str, Any]]) -> None:
    """Deploying removes the others."""
    folder = "/opt/trigger/gateway/config"
    assert rendered["open"]["needed"] == [f"{folder}/registry-writers.caddy"]
    files = [f"{folder}/{name}" for name in (f"clients/{HOST}.caddy", "registry-writers.caddy", "status-users.caddy")]
    assert rendered["internal"]["needed"] == files


@pytest.mark.parametrize("path", [*PAGE_PATHS, "/-/monitoring/write"])
def test_nobody_passes_a_proxy_in_front_by_a_path_of_the_gateway_itself(
    run_gateway: Callable[..., Gateway], path: str
) -> None:
    gateway = run_gateway("off-elsewhere")
    told: dict[str, Any] = {"X_Forwarded_Proto": "https", **basic("admin", SECRETS["status_page_password"])}
    status, _, answered = gateway.ask("trigger.example.com", path, port=gateway.redirecting, tls=False, **told)
    assert (status, "www-authenticate" in answered) == (403, False)


def test_the_page_of_the_status_is_served_behind_a_proxy_that_says_https(run_gateway: Callable[..., Gateway]) -> None:
    gateway = run_gateway("off", "127.0.0.1")
    plain: dict[str, Any] = {
        "port": gateway.redirecting,
        "tls": False,
        **basic("admin", SECRETS["status_page_password"]),
    }
    assert gateway.ask("trigger.example.com", "/-/status", **plain)[0] == 400
    assert gateway.ask("trigger.example.com", "/-/status", X_Forwarded_Proto="https", **plain)[0] == 200


@pytest.mark.parametrize("case", CASES)
def test_what_is_behind_the_gateway_publishes_no_port(rendered: dict[str, dict[str, Any]], case: str) -> None:
    """Engines before 28 let neighbours through to a port that is published on the loopback."""
    ports = {name: row.get("ports") for services in rendered[case]["behind"] for name, row in services.items()}
    assert "webapp" in ports
    assert {name for name, published in ports.items() if published} == set()


def test_the_host_calls_its_containers_by_their_addresses(rendered: dict[str, dict[str, Any]]) -> None:
    assert rendered["open"]["webapp_url"] == "http://172.18.0.5:3000"
    named = "http://trigger-webapp-trigger-seaweedfs-1:9000"
    assert rendered["open"]["bucket_url"] == named, "one that does not run is named"


def test_the_host_of_the_registry_serves_the_registry_alone(rendered: dict[str, dict[str, Any]]) -> None:
    row = rendered["registry-host"]
    assert "https://registry.trigger.example.com {" in row["caddyfile"]
    assert "https://trigger.example.com {" not in row["caddyfile"]
    assert "acme_ca https://trigger.example.com/acme/trigger/directory" in row["caddyfile"]
    assert "pki {" not in row["caddyfile"]
    service = row["definition"]["services"]["gateway"]
    assert set(row["definition"]["networks"]) == {"trigger-gateway", "trigger-registry"}
    assert [port.rpartition(":")[2] for port in service["ports"]] == ["80", "443"]
    assert not [volume for volume in service["volumes"] if "authority" in volume]


def test_the_control_host_signs_for_the_host_of_the_registry(rendered: dict[str, dict[str, Any]]) -> None:
    assert "acme_server {" in rendered["signing"]["caddyfile"]
    assert "domains registry.trigger.example.com" in rendered["signing"]["caddyfile"]
    assert all("acme_server {" not in rendered[case]["caddyfile"] for case in CASES if case != "signing")
