# SPDX-License-Identifier: MIT
from __future__ import annotations

import base64
import json
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._command import Completed
from ansible_collections.selfhosted.trigger_dev.plugins.modules import runner_probe
from ansible_collections.selfhosted.trigger_dev.plugins.modules.runner_probe import (
    Found,
    Parameters,
    ProbeError,
    Proof,
    Reply,
    addresses,
    connected,
    door,
    find_problems,
    parameters,
    probe,
    records,
    speak,
    sweep,
)

Invoke = Callable[..., dict[str, Any]]
IMAGE = "control.lab:5000/trigger/probe:2.8.3"
WANTED = Parameters(
    proxy_container="proxy-1",
    proxy_network="trigger-proxy",
    proxy_port=2375,
    image=IMAGE,
    registry_url="control.lab:5000",
    registry_username="trigger",
    registry_password='pä"ss~~??>>',
    platform=None,
    limited=True,
    network="trigger-runner",
    urls=["http://supervisor:8020/health"],
    answering=["https://s3.example.com/"],
    unreachable=["docker-socket-proxy:2375"],
    timeout=60,
)
AVOID = ["docker-socket-proxy:2375", "172.24.0.2:2375"]
NAME = "trigger-probe-0123456789abcdef"
GOOD_LOG = """Connecting to supervisor:8020 (172.25.0.2:8020)
null                 100% |********************************|     2  0:00:00 ETA

== 0 reach=http://supervisor:8020/health
wget: server returned error: HTTP/1.1 403 Forbidden

== 1 answer=https://s3.example.com/
wget: server returned error: HTTP/1.0 400 Bad Request

== 1 connect=s3.example.com:443
wget: bad address 'docker-socket-proxy'

== 1 avoid=docker-socket-proxy:2375
Connecting to 172.24.0.2:2375 (172.24.0.2:2375)
wget: download timed out

== 1 avoid=172.24.0.2:2375
"""
UP_TO_DATE = '{"status":"Pulling from trigger/probe"}\r\n{"status":"Status: Image is up to date for x"}\r\n'


class Host:
    """The engine behind the proxy, and the docker command of the host."""

    def __init__(self, **replies: Reply) -> None:
        self.replies = {
            "pull": Reply(200, UP_TO_DATE),
            "inspect": Reply(200, "{}"),
            "create": Reply(201, json.dumps({"Id": "c" * 64, "Warnings": []})),
            "start": Reply(204, ""),
            **replies,
        }
        self.log = GOOD_LOG
        self.exit_code = Completed(0, "0\n", "")
        self.calls: list[tuple[str, str, Mapping[str, str], str | None]] = []
        self.commands: list[list[str]] = []

    def call(self, method: str, path: str, headers: Mapping[str, str], body: str | None) -> Reply:
        self.calls.append((method, path, headers, body))
        step = {"/images/create": "pull", "/containers/create": "create"}.get(path.split("?")[0])
        return self.replies[step or ("inspect" if path.endswith("/json") else "start")]

    def run(self, argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        self.commands.append(list(argv))
        return {"wait": self.exit_code, "logs": Completed(0, self.log, "")}.get(argv[1], Completed(0, "", ""))

    def probe(self) -> Proof:
        return probe(self.run, self.call, WANTED, AVOID, NAME)


def test_the_calls_of_a_supervisor_and_no_others() -> None:
    host = Host()
    assert host.probe() == Proof(pulled=False, connected=[])
    create = dict(parse_qsl(urlsplit(host.calls[2][1]).query))
    assert create["name"] == NAME
    # As dockerode does, all of the body stands in the query, too.
    assert set(create) == set(json.loads(host.calls[2][3] or ""))
    assert json.loads(create["HostConfig"]) == json.loads(host.calls[2][3] or "")["HostConfig"]
    assert [(method, path.split("?name=")[0]) for method, path, _headers, _body in host.calls] == [
        ("POST", "/images/create?fromImage=control.lab%3A5000%2Ftrigger%2Fprobe%3A2.8.3"),
        ("GET", f"/images/{IMAGE}/json"),
        ("POST", "/containers/create"),
        ("POST", f"/containers/{'c' * 64}/start"),
    ]


def test_login_is_sent_with_the_pull_alone_and_in_the_alphabet_for_headers() -> None:
    host = Host()
    host.probe()
    header = host.calls[0][2]["X-Registry-Auth"]
    assert json.loads(base64.urlsafe_b64decode(header)) == {
        "username": "trigger",
        "password": 'pä"ss~~??>>',
        "serveraddress": "control.lab:5000",
    }
    assert not set(header) & set("+/")
    assert all("X-Registry-Auth" not in headers for _method, _path, headers, _body in host.calls[1:])
    assert "ss~~" not in json.dumps(host.commands)


def test_a_registry_without_login() -> None:
    host = Host()
    probe(host.run, host.call, replace(WANTED, registry_username=None), AVOID, NAME)
    assert host.calls[0][2] == {}


def test_the_body_passes_the_strict_proxy() -> None:
    host = Host()
    with pytest.raises(ProbeError, match="wörker"):  # the log knows nothing of it
        probe(host.run, host.call, replace(WANTED, urls=[*WANTED.urls, "http://wörker/"]), AVOID, NAME)
    body = host.calls[2][3]
    assert body is not None
    content = json.loads(body)
    assert content["name"] == NAME
    assert content["Hostname"] == f"runner-{NAME}"
    assert content["HostConfig"] == {
        "NetworkMode": "trigger-runner",
        "AutoRemove": False,
        "NanoCpus": 500_000_000,
        "Memory": 536_870_912,
    }
    assert not re.search(r"\\u[0-9a-f]{4}", body, re.IGNORECASE)
    assert content["Cmd"][1:] == [
        "probe",
        "reach=http://supervisor:8020/health",
        "reach=http://wörker/",
        "answer=https://s3.example.com/",
        "connect=s3.example.com:443",
        "avoid=docker-socket-proxy:2375",
        "avoid=172.24.0.2:2375",
    ]


def test_a_platform_goes_with_pull_and_create() -> None:
    host = Host()
    probe(host.run, host.call, replace(WANTED, platform="linux/arm64"), AVOID, NAME)
    assert host.calls[0][1].endswith("&platform=linux%2Farm64")
    assert json.loads(host.calls[2][3] or "")["platform"] == "linux/arm64"
    assert "&platform=linux%2Farm64&" in host.calls[2][1]


def test_a_download_is_reported() -> None:
    assert Host(pull=Reply(200, '{"status":"Status: Downloaded newer image for x"}')).probe().pulled


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("unauthorized: authentication required", "trigger_registry_pull_username"),
        ("http: server gave HTTP response to HTTPS client", "docker_engine_insecure_registries"),
        ("x509: certificate signed by unknown authority", "does not trust"),
        ("manifest unknown: manifest unknown", "not in the registry"),
        ("dial tcp: lookup control.lab: no such host", "does not reach the registry"),
        ("dial tcp 10.0.0.1:5000: connect: connection refused", "does not reach the registry"),
        ("something else", "log of the engine"),
    ],
)
@pytest.mark.parametrize("in_stream", [True, False])
def test_pull_errors_are_explained_wherever_they_come(text: str, hint: str, in_stream: bool) -> None:
    stream = json.dumps({"status": "Pulling"}) + "\n" + json.dumps({"errorDetail": {"message": text}, "error": text})
    host = Host(pull=Reply(200, stream) if in_stream else Reply(500, json.dumps({"message": text})))
    with pytest.raises(ProbeError, match=re.escape(text)) as caught:
        host.probe()
    assert hint in str(caught.value)
    assert len(host.calls) == 1


@pytest.mark.parametrize("step", ["pull", "inspect", "create", "start"])
def test_what_the_proxy_refuses_is_named(step: str) -> None:
    with pytest.raises(ProbeError, match=r"The Docker proxy refuses to \w+ .*status 403: 403 Forbidden"):
        Host(**{step: Reply(403, "<html><h1>403 Forbidden</h1></html>")}).probe()


@pytest.mark.parametrize("step", ["create", "start"])
def test_the_container_is_removed_after_a_failure(step: str) -> None:
    host = Host(**{step: Reply(404, '{"message": "network trigger-runner not found"}')})
    with pytest.raises(ProbeError, match="network trigger-runner not found"):
        host.probe()
    assert host.commands[-1] == ["docker", "rm", "--force", "--volumes", NAME]


def test_the_container_is_removed_after_success() -> None:
    host = Host()
    host.probe()
    assert host.commands[-1] == ["docker", "rm", "--force", "--volumes", NAME]


def test_a_container_that_does_not_end() -> None:
    host = Host()
    host.exit_code = Completed(124, "", "docker: no end after 60 s")
    with pytest.raises(ProbeError, match="no end after 60 s"):
        host.probe()
    assert host.commands[-1][1] == "rm"


def log(code: int, argument: str, text: str) -> str:
    record = rf"^(?:(?!== ).*\n)*== \d+ {re.escape(argument)}\n"
    return re.sub(record, lambda _match: f"{text}\n\n== {code} {argument}\n", GOOD_LOG, flags=re.MULTILINE)


def read(code: int, argument: str, text: str) -> Found:
    return dict(records(log(code, argument, text)))


def test_all_is_well() -> None:
    assert find_problems(dict(records(GOOD_LOG)), WANTED, AVOID) == []


@pytest.mark.parametrize(
    "text",
    [
        "wget: can't connect to remote host (10.0.0.1): Connection refused",
        "wget: server returned error: HTTP/1.1 500 Internal Server Error",
        "sh: wget: not found",
    ],
)
def test_a_url_that_does_not_answer(text: str) -> None:
    (problem,) = find_problems(read(1, "reach=http://supervisor:8020/health", text), WANTED, AVOID)
    assert f"does not reach http://supervisor:8020/health ({text})" in problem
    assert "trigger_api_origin" in problem


@pytest.mark.parametrize("text", ["", "HTTP request sent, awaiting response... 403 Forbidden\nERROR 403: Forbidden."])
def test_an_error_page_is_an_answer_where_that_will_do(text: str) -> None:
    assert find_problems(read(8 if text else 0, "answer=https://s3.example.com/", text), WANTED, AVOID) == []


@pytest.mark.parametrize("text", ["wget: bad address 's3.example.com'", ""])
def test_no_answer_is_none_anywhere(text: str) -> None:
    (problem,) = find_problems(read(1, "answer=https://s3.example.com/", text), WANTED, AVOID)
    assert "does not reach https://s3.example.com/" in problem


SECURE = replace(WANTED, urls=["https://control.lab/healthcheck"], answering=[])
# What the programs say of a server whose certificate or protocol they do not take: busybox's own TLS (measured),
# Alpine's ssl_client, busybox without any program for TLS (measured) and without TLS, and GNU wget.
TLS_FAILURES = [
    """Connecting to 172.17.0.1:443 (172.17.0.1:443)
wget: note: TLS certificate validation not implemented
wget: TLS error from peer (alert code 70): 70
wget: error getting response: Connection reset by peer""",
    """Connecting to 172.17.0.1:443 (172.17.0.1:443)
wget: note: TLS certificate validation not implemented
wget: got bad TLS record (len:0) while expecting handshake record
wget: error getting response: Connection reset by peer""",
    """Connecting to control.lab (172.17.0.1:443)
28DB5418077F0000:error:0A000086:SSL routines:tls_post_process_server_certificate:certificate verify failed:ssl/s.c:2124:
ssl_client: SSL_connect
wget: error getting response: Connection reset by peer""",
    """Connecting to control.lab (172.17.0.1:443)
ssl_client: control.lab: certificate verification failed: unable to get local issuer certificate
wget: error getting response: Connection reset by peer""",
    "Connecting to 172.17.0.1:443 (172.17.0.1:443)\nwget: error getting response: Connection reset by peer",
    "wget: not an http or ftp url: https://control.lab/healthcheck",
    """--2025-01-01 10:00:00--  https://control.lab/healthcheck
Connecting to control.lab|172.17.0.1|:443... connected.
ERROR: cannot verify control.lab's certificate, issued by ‘CN=Our Root’:
  Unable to locally verify the issuer's authority.""",
    "https://control.lab/healthcheck: HTTPS support not compiled in.",
]
# How a server that wants TLS answers a request without it.
TURNED_AWAY = [
    (1, "wget: server returned error: HTTP/1.0 400 Bad Request"),
    (1, "wget: error getting response: Connection reset by peer"),
    (1, "wget: bad header line: \x15"),
    (8, "HTTP request sent, awaiting response... 400 Bad Request\nERROR 400: Bad Request."),
    (4, "HTTP request sent, awaiting response... No data received."),
    (0, ""),
]
SHUT = [
    (1, "wget: can't connect to remote host (172.17.0.1): Connection refused"),
    (1, "wget: download timed out"),
    (1, "wget: bad address 'control.lab'"),
    (4, "Connecting to control.lab|172.17.0.1|:443... failed: Connection refused."),
    (127, "sh: wget: not found"),
]


def secure(text: str, plain: tuple[int, str]) -> Found:
    first, second = f"== 1 reach={SECURE.urls[0]}\n", f"== {plain[0]} connect=control.lab:443\n"
    return dict(records(f"{text}\n\n{first}{plain[1]}\n\n{second}"))


@pytest.mark.parametrize("text", TLS_FAILURES)
@pytest.mark.parametrize("plain", TURNED_AWAY)
def test_tls_alone_does_not_keep_a_runner_away(text: str, plain: tuple[int, str]) -> None:
    found = secure(text, plain)
    assert find_problems(found, SECURE, []) == []
    assert connected(found, "reach", SECURE.urls[0])


@pytest.mark.parametrize("text", TLS_FAILURES)
@pytest.mark.parametrize("plain", SHUT)
def test_a_failure_of_tls_proves_no_connection(text: str, plain: tuple[int, str]) -> None:
    (problem,) = find_problems(secure(text, plain), SECURE, [])
    assert f"does not reach {SECURE.urls[0]} (" in problem
    assert f"; a connection to its port without TLS: {plain[1]})" in problem


@pytest.mark.parametrize(
    "text",
    [
        "wget: server returned error: HTTP/1.1 502 Bad Gateway",
        "wget: note: TLS certificate validation not implemented\nwget: server returned error: HTTP/1.1 404 Not Found",
        "wget: note: TLS certificate validation not implemented\nwget: download timed out",
        "wget: can't connect to remote host (172.17.0.1): Connection refused",
        "wget: bad address 'control.lab'",
        "sh: wget: not found",
        "",
    ],
)
def test_what_is_not_for_tls_is_a_problem_however_well_it_connects(text: str) -> None:
    for plain in TURNED_AWAY:
        assert len(find_problems(secure(text, plain), SECURE, [])) == 1


def test_plain_addresses_have_no_second_chance() -> None:
    wanted = replace(WANTED, answering=[])
    found = read(1, "reach=http://supervisor:8020/health", "wget: error getting response: Connection reset by peer")
    (problem,) = find_problems(found, wanted, AVOID)
    assert "supervisor" in problem
    assert "without TLS" not in problem


def test_addresses_that_only_took_a_connection_are_told() -> None:
    host = Host()
    host.log = log(1, "answer=https://s3.example.com/", TLS_FAILURES[0])
    assert host.probe() == Proof(pulled=False, connected=["https://s3.example.com/"])


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://control.lab", None),
        ("https://control.lab", "control.lab:443"),
        ("https://control.lab/healthcheck?x=https://y", "control.lab:443"),
        ("https://control.lab:8443/", "control.lab:8443"),
        ("https://[2001:db8::1]/", "[2001:db8::1]:443"),
        ("https://[2001:db8::1]:8443", "[2001:db8::1]:8443"),
    ],
)
def test_doors(url: str, expected: str | None) -> None:
    assert door(url) == expected


def test_a_port_is_a_number() -> None:
    with pytest.raises(ProbeError, match=r"control\.lab:x/ is no URL"):
        door("https://control.lab:x/")


def test_doors_are_tried_once_each() -> None:
    host = Host()
    wanted = replace(WANTED, urls=["https://a.lab/x", "https://a.lab/y"], answering=["https://a.lab:444/"])
    with pytest.raises(ProbeError):  # the log knows nothing of them
        probe(host.run, host.call, wanted, [], NAME)
    assert [word for word in json.loads(host.calls[2][3] or "")["Cmd"] if word.startswith("connect=")] == [
        "connect=a.lab:443",
        "connect=a.lab:444",
    ]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (0, ""),
        (1, "wget: server returned error: HTTP/1.1 403 Forbidden"),
        (1, "wget: error getting response"),
        (8, "HTTP request sent, awaiting response... 403 Forbidden\nERROR 403: Forbidden."),
    ],
)
def test_a_proxy_within_reach(code: int, text: str) -> None:
    (problem,) = find_problems(read(code, "avoid=172.24.0.2:2375", text), WANTED, AVOID)
    assert "reaches 172.24.0.2:2375, which must be out of its reach" in problem


@pytest.mark.parametrize(
    "text",
    [
        "wget: can't connect to remote host (10.0.0.1): Connection refused",
        "wget: can't connect to remote host: No route to host",
        "Connecting to 10.0.0.1:2375... failed: Connection timed out.",
        "wget: unable to resolve host address 'x'",
    ],
)
def test_a_proxy_out_of_reach(text: str) -> None:
    assert find_problems(read(1, "avoid=172.24.0.2:2375", text), WANTED, AVOID) == []


@pytest.mark.parametrize("text", ["sh: wget: not found", ""])
def test_what_is_not_clear_is_not_taken_for_good(text: str) -> None:
    (problem,) = find_problems(read(127, "avoid=172.24.0.2:2375", text), WANTED, AVOID)
    assert "not clear" in problem


def test_an_empty_log_proves_nothing() -> None:
    assert len(find_problems({}, WANTED, AVOID)) == 4


def test_addresses_of_the_proxy() -> None:
    networks = {
        "other": {"IPAddress": "10.0.0.5"},
        "trigger-proxy": {"IPAddress": "172.24.0.2"},
        "x": {"IPAddress": ""},
    }
    assert addresses(lambda *_a, **_k: Completed(0, json.dumps(networks), ""), WANTED) == ["172.24.0.2", "10.0.0.5"]
    with pytest.raises(ProbeError, match="no address on the network trigger-proxy"):
        addresses(lambda *_a, **_k: Completed(0, '{"other": {"IPAddress": "10.0.0.5"}}', ""), WANTED)
    with pytest.raises(ProbeError, match="is not there: Error: No such object"):
        addresses(lambda *_a, **_k: Completed(1, "", "Error: No such object: proxy-1"), WANTED)


def test_sweep_removes_leftovers_of_its_own_name_only() -> None:
    commands: list[list[str]] = []

    def fake(argv: Sequence[str], stdin: str = "", timeout: float = 60) -> Completed:
        commands.append(list(argv))
        return Completed(0, f"{NAME}\nmy-trigger-probe-x\ntrigger-probe-of-mine\n", "")

    sweep(fake)
    assert commands[1] == ["docker", "rm", "--force", "--volumes", NAME]


def test_probes_do_not_count_as_runs() -> None:
    assert not re.search("^/?runner-", NAME)
    assert runner_probe.NAME.fullmatch(NAME)


def test_an_image_needs_a_tag() -> None:
    arguments = {**WANTED.__dict__, "image": "control.lab:5000/trigger/probe"}
    with pytest.raises(ProbeError, match="has no tag"):
        parameters(arguments)


@pytest.fixture
def server() -> Iterator[tuple[ThreadingHTTPServer, list[str]]]:
    lines: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", 0))
            lines.append(f"{self.requestline} {length} {self.rfile.read(length).decode()}")
            self.send_response(201)
            self.end_headers()
            self.wfile.write(b"done")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield http, lines
        http.shutdown()
        thread.join()


def test_speaking(server: tuple[ThreadingHTTPServer, list[str]]) -> None:
    http, lines = server
    reply = speak("127.0.0.1", http.server_port, 5)("POST", "/containers/create?name=x", {}, '{"ä": 1}')
    assert reply == Reply(201, "done")
    assert lines == ['POST /containers/create?name=x HTTP/1.1 9 {"ä": 1}']


def test_nobody_there() -> None:
    with pytest.raises(ProbeError, match=r"proxy at 127\.0\.0\.1:1 does not answer POST /images/create \(Conn"):
        speak("127.0.0.1", 1, 2)("POST", "/images/create?fromImage=x", {}, None)


def test_check_mode_is_skipped_and_the_password_masked(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "docker").write_text("#!/bin/sh\necho Error: hidden-password >&2; exit 1\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    arguments = {**WANTED.__dict__, "registry_password": "hidden-password"}
    skipped = invoke(runner_probe.main, check=True, **arguments)
    assert (skipped["skipped"], skipped["changed"]) == (True, False)
    failed = invoke(runner_probe.main, **arguments)
    assert "is not there" in failed["msg"]
    assert "hidden-password" not in json.dumps([skipped, failed])
