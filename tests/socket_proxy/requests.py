# SPDX-License-Identifier: MIT
"""Requests to the socket proxy, as bytes: those of a supervisor, and those that nobody has any business to make."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from tests.socket_proxy.proxies import IMAGE, NETWORK, REGISTRY

JSON = "Content-Type: application/json"
BENIGN = "GET /images/none/json"
# Put into names by which the engine's events are told from those of others.
MARK = "MARK"
NAME = f"trigger-probe-{MARK}"


def task(**host: Any) -> dict[str, Any]:
    """Give the body of a create that passes, with more in its HostConfig."""
    return {
        "Image": IMAGE,
        "Env": ["TRIGGER_RUN_ID=run_1"],
        "HostConfig": {"NetworkMode": NETWORK, "AutoRemove": True, "NanoCpus": 500000000, "Memory": 536870912} | host,
    }


def http(target: str, body: bytes | str = b"", *head: str, method: str = "POST", version: str = "1.1") -> bytes:
    """Give a request with the length of its body and more lines in its head."""
    data = body.encode() if isinstance(body, str) else body
    lines = [f"{method} {target} HTTP/{version}", "Host: docker", *head]
    if method != "GET" or data:
        lines.append(f"Content-Length: {len(data)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + data


def create(body: Any, *head: str, query: str = f"name={NAME}", **options: Any) -> bytes:
    """Give a create; a body that is no bytes becomes JSON."""
    data = body if isinstance(body, bytes | str) else json.dumps(body)
    return http(f"/containers/create?{query}", data, JSON, *head, **options)


def bare(*lines: str, body: bytes | str = b"") -> bytes:
    """Give a request whose head is as it is said."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body.encode() if isinstance(body, str) else body)


def dockerode(options: dict[str, Any]) -> str:
    """Give the query of a create as dockerode sends it: every option, maps and lists as JSON."""
    words = {True: "true", False: "false"}
    return urlencode(
        {
            name: json.dumps(value, separators=(",", ":"))
            if isinstance(value, dict | list)
            else words.get(value, value)
            for name, value in options.items()
        }
    )


def supervisor(name: str, environment: list[str]) -> dict[str, Any]:
    """Give what a supervisor asks for, in the order in which it does."""
    return {
        "name": name,
        "Hostname": "runner-abc123",
        "HostConfig": task()["HostConfig"],
        "Image": IMAGE,
        "AttachStdout": False,
        "AttachStderr": False,
        "AttachStdin": False,
        "Env": environment,
    }


@dataclass(frozen=True)
class Hostile:
    """What is sent, and how many harmless requests among it may pass."""

    data: bytes
    benign: int = 0
    pause: float = 0


def changed(text: str, body: dict[str, Any] | None = None) -> str:
    """Give the JSON of a task with a member written by hand in its HostConfig."""
    return json.dumps(body or task(PLACE=1)).replace('"PLACE": 1', text)


def top(text: str) -> str:
    """Give the JSON of a task with members written by hand beside its HostConfig."""
    return json.dumps({"PLACE": 1} | task()).replace('"PLACE": 1', text)


HOST_CONFIG: dict[str, Any] = {
    "Privileged": True,
    "Binds": ["/:/host"],
    "Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}],
    "VolumesFrom": ["trigger-supervisor-docker-socket-proxy-1"],
    "VolumeDriver": "other",
    "Devices": [{"PathOnHost": "/dev/sda", "PathInContainer": "/dev/sda", "CgroupPermissions": "rwm"}],
    "DeviceRequests": [{"Count": -1, "Capabilities": [["gpu"]]}],
    "DeviceCgroupRules": ["a *:* rwm"],
    "CapAdd": ["SYS_ADMIN"],
    "CapDrop": [],
    "PidMode": "host",
    "IpcMode": "host",
    "UTSMode": "host",
    "UsernsMode": "host",
    "CgroupnsMode": "host",
    "CgroupParent": "/",
    "Cgroup": "container:x",
    "SecurityOpt": ["seccomp=unconfined"],
    "Sysctls": {"net.ipv4.ip_forward": "1"},
    "Runtime": "other",
    "MaskedPaths": [],
    "ReadonlyPaths": [],
    "GroupAdd": ["0"],
    "ExtraHosts": ["supervisor:192.0.2.1"],
    "Links": ["x:y"],
    "Dns": ["192.0.2.1"],
    "PortBindings": {"1/tcp": [{"HostPort": "1"}]},
    "PublishAllPorts": True,
    "OomScoreAdj": -1000,
    "RestartPolicy": {"Name": "always"},
    "LogConfig": {"Type": "syslog", "Config": {"syslog-address": "tcp://192.0.2.1"}},
    "ContainerIDFile": "/etc/passwd",
    "StorageOpt": {"size": "1T"},
    "Tmpfs": {"/x": ""},
    "Annotations": {"x": "y"},
}
NETWORKS = [
    "host",
    "none",
    "bridge",
    "default",
    "trigger-proxy",
    "trigger-runner-other",
    "container:trigger-probe",
    "",
    "Trigger-runner",
]
TOP: dict[str, str] = {
    "user": '"User": "0"',
    "volumes": '"Volumes": {"/host": {}}',
    "networking": '"NetworkingConfig": {"EndpointsConfig": {"trigger-proxy": {}}}',
    "network-of-the-wrapper": '"NetworkMode": "trigger-runner"',
    "labels": '"Labels": {"com.docker.compose.project": "trigger-supervisor"}',
    "exposed": '"ExposedPorts": {"1/tcp": {}}',
    "health": '"Healthcheck": {"Test": ["CMD", "true"]}',
    "build": '"OnBuild": ["RUN x"]',
    "mac": '"MacAddress": "02:00:00:00:00:01"',
    "domain": '"Domainname": "x"',
    "stdin": '"OpenStdin": true',
    "attach-type": '"AttachStdin": "true"',
    "null": '"Cmd": null',
    "command-text": '"Cmd": "x"',
    "host-name": '"Hostname": "supervisor"',
    "host-name-with-escape": '"Hostname": "\\u0073upervisor"',
    "host-name-inside": '"Hostname": "x.runner-1"',
    "second-host-config": '"HostConfig": {"NetworkMode": "trigger-runner", "Privileged": true}',
    "host-config-in-other-case": '"hostconfig": {"Privileged": true}',
    "host-config-with-long-s": '"Ho\u017ftConfig": {"Privileged": true}',
    "host-config-with-escape": '"\\u0048ostConfig": {"Privileged": true}',
    "second-image": '"Image": "docker.io/library/alpine:3"',
    "image-in-other-case": '"image": "docker.io/library/alpine:3"',
    "same-key-twice": '"Env": []',
    "number-as-key": "1: 2",
    "no-key": '"": 1',
    "nul-key": '"Cmd\\u0000": []',
    "comment": '/* "x": */ "Cmd": []',
    "deep": '"Cmd": ' + "[" * 20000 + "]" * 20000,
    "deep-objects": '"Cmd": ' + '{"a":' * 15000 + "1" + "}" * 15000,
    "trailing-comma": '"Cmd": ["x",]',
    "raw-nul": '"Cmd": ["\0"]',
    "raw-line-break": '"Cmd": ["a\nb"]',
    "bad-escape": '"Cmd": ["\\x41"]',
    "short-escape": '"Cmd": ["\\u12"]',
}
KEYS: dict[str, str] = {
    "lower": '"privileged": true',
    "upper": '"PRIVILEGED": true',
    "escape": '"\\u0050rivileged": true',
    "escaped-quote": '"Privileged\\u0022": true',
    "blank-inside": '"Privileged ": true',
    "blank-outside": '"Privileged" \t\r\n : true',
    "long-s-binds": '"Bind\u017f": ["/:/host"]',
    "long-s-security": '"\u017fecurityOpt": ["seccomp=unconfined"]',
    "kelvin": '"Networ\u212aMode": "host"',
    "kelvin-escape": '"Networ\\u212aMode": "host"',
    "network-in-other-case": '"networkmode": "host"',
    "network-twice": '"NetworkMode": "host"',
    "network-as-list": '"Cmd": ["NetworkMode", "trigger-runner"]',
    "invalid-utf-8": '"Privileged\udcff": true',
    "full-width": '"\uff30rivileged": true',
    "zero-width": '"Privileged\u200b": true',
}
NUMBERS = [
    "-1",
    "01",
    "1.5",
    "1e9",
    "1E2",
    "+1",
    "0x10",
    "1_000",
    "NaN",
    "Infinity",
    '"1"',
    "null",
    "true",
    "--1",
    ".5",
    "1.",
    "00",
]
IMAGES = [
    "docker.io/library/alpine:3",
    "alpine",
    "registry.example.com",
    "registry.example.com:50001/x",
    "registry.example.com:5000.evil.example/x",
    "evil.example/registry.example.com:5000/x",
    "Registry.example.com:5000/x",
    " registry.example.com:5000/x",
    "registry.example.com:5000/../x",
    "sha256:" + "a" * 64,
    "",
    "registry.example.com:5000\\/x",
    "registry\\u002eexample.com:5000/x",
    "registry.example.com:5000/x\\u0000",
    "registry.example.com:5000/x y",
]

PASS_BODY = json.dumps(task())
PRIVILEGED = json.dumps(task(Privileged=True))
CREATE = f"POST /containers/create?name={NAME} HTTP/1.1"
HOSTED = (CREATE, "Host: docker", JSON)
GET_NONE = bare(f"{BENIGN} HTTP/1.1", "Host: docker")
IDENTITY = "a" * 64

CALLS = [
    ("GET", "/_ping"),
    ("HEAD", "/_ping"),
    ("HEAD", "/images/none/json"),
    ("GET", "/version"),
    ("GET", "/info"),
    ("GET", "/events"),
    ("GET", "/containers/json"),
    ("GET", "/images/json"),
    ("GET", "/images/search?term=x"),
    ("GET", f"/images/get?names={IMAGE}"),
    ("GET", f"/images/{IMAGE}/history"),
    ("GET", "/images/docker.io/library/alpine/json"),
    ("GET", f"/images/{IMAGE}/json?x=y"),
    ("GET", "/networks"),
    ("GET", "/volumes"),
    ("GET", "/secrets"),
    ("GET", "/system/df"),
    ("GET", f"/containers/{IDENTITY}/json"),
    ("GET", f"/containers/{IDENTITY}/logs?stdout=1"),
    ("GET", f"/containers/{IDENTITY}/archive?path=/etc/passwd"),
    ("GET", f"/containers/{IDENTITY}/start"),
    ("GET", f"/containers/create?name={NAME}"),
    ("GET", f"/images/create?fromImage={IMAGE}"),
    ("GET", "/v1.41/containers/json"),
    ("GET", f"/v1.41/images/{IMAGE}/json"),
    ("POST", f"/v1.41/containers/create?name={NAME}"),
    ("POST", f"/v1.24/containers/create?name={NAME}"),
    ("POST", f"/v1.41/containers/{IDENTITY}/start"),
    ("POST", f"/containers/{IDENTITY}/exec"),
    ("POST", f"/exec/{IDENTITY}/start"),
    ("POST", f"/containers/{IDENTITY}/stop"),
    ("POST", f"/containers/{IDENTITY}/kill"),
    ("POST", f"/containers/{IDENTITY}/attach"),
    ("POST", f"/containers/{IDENTITY}/update"),
    ("POST", f"/containers/{IDENTITY}/start/"),
    ("POST", f"/containers/{IDENTITY}/start?detachKeys=a"),
    ("POST", f"/containers/{IDENTITY[1:]}/start"),
    ("POST", "/containers/trigger-supervisor-supervisor-1/start"),
    ("POST", "/containers/prune"),
    ("POST", "/images/prune"),
    ("POST", "/images/load"),
    ("POST", f"/images/{IMAGE}/tag?repo=x"),
    ("POST", f"/images/{IMAGE}/push"),
    ("POST", f"/images/{IMAGE}/json"),
    ("POST", "/build?remote=http://192.0.2.1/x"),
    ("POST", f"/commit?container={IDENTITY}"),
    ("POST", "/session"),
    ("POST", "/grpc"),
    ("POST", "/auth"),
    ("POST", "/networks/create"),
    ("POST", "/networks/trigger-data/connect"),
    ("POST", "/volumes/create"),
    ("POST", "/plugins/pull?remote=x"),
    ("POST", "/swarm/init"),
    ("PUT", f"/containers/{IDENTITY}/archive?path=/"),
    ("PUT", f"/containers/create?name={NAME}"),
    ("PATCH", f"/containers/create?name={NAME}"),
    ("DELETE", f"/containers/{IDENTITY}?force=1"),
    ("DELETE", f"/images/{IMAGE}"),
    ("OPTIONS", "*"),
    ("TRACE", "/images/none/json"),
    ("CONNECT", "docker:2375"),
    ("post", f"/containers/create?name={NAME}"),
]
# Of what is no path of a call to the proxy, but could become one for the engine.
CREATE_TARGETS = [
    "/containers/create/",
    "//containers/create",
    "/containers//create",
    "/./containers/create",
    "/containers/./create",
    "/x/../containers/create",
    "/containers/%63reate",
    "/containers%2fcreate",
    "/%2e/containers/create",
    "/Containers/create",
    "/containers/create%00",
    "/containers/create;x=y",
    "/containers/create#x",
    "\\containers\\create",
    "http://docker/containers/create",
    "HTTP://docker:2375/containers/create",
    "http:/containers/create",
    "containers/create",
    "/v1.41/containers/create",
    "/V1.41/containers/create",
    "/v1.41//containers/create",
    "/containers/create\t",
    "/images/../containers/create",
    "/containers/create/json",
]
GET_TARGETS = [
    "/images/../containers/json",
    "/images/x/../../containers/json",
    "/images/../containers/trigger-probe/json",
    "/images/%2e%2e/containers/json",
    f"/images/{REGISTRY}/../../containers/json",
    f"/images/{REGISTRY}/%2e%2e/%2e%2e/containers/json",
    f"/images/{REGISTRY}/x?/json",
    f"/images/{REGISTRY}/x%3f/json",
    f"/images/{REGISTRY}/x#/json",
    f"/images//{REGISTRY}/x/json",
    "http://docker/images/none/json",
]
CREATE_QUERIES = [
    "",
    "name=supervisor",
    "name=",
    f"name=x&name={NAME}",
    f"name={NAME}&name=supervisor",
    f"%6eame=supervisor&name={NAME}",
    f"name={NAME}&n%61me=supervisor",
    f"name={NAME};name=supervisor",
    f"Image=x;name=supervisor&name={NAME}",
    f"name={NAME}%00",
    f"name=%73upervisor{MARK}",
    f"name={NAME}&+name=supervisor",
    f"name={NAME}#x",
    f"name={NAME}&x[name]=y",
    f"name={NAME}/../x",
    f"fromSrc=x&name={NAME}",
]
PULL_QUERIES = [
    "",
    "fromImage=",
    "fromSrc=http://192.0.2.1/x.tar",
    "fromSrc=-",
    f"fromImage={IMAGE}&fromSrc=http://192.0.2.1/x.tar",
    f"fromImage={IMAGE}&repo=x",
    f"fromImage={IMAGE}&changes=USER%20root",
    f"fromImage={IMAGE}&message=x",
    f"fromImage={IMAGE}&fromImage=docker.io/library/alpine",
    f"fromImage=docker.io/library/alpine&fromImage={IMAGE}",
    f"from%49mage=docker.io/library/alpine&fromImage={IMAGE}",
    f"fromImage={IMAGE};fromImage=docker.io/library/alpine",
    f"tag=x;fromSrc=y&fromImage={IMAGE}",
    f"fromImage={IMAGE}&FromSrc=x",
    f"fromImage={IMAGE}%0a",
    f"fromImage={IMAGE}%00",
    f"fromImage={IMAGE}%26fromSrc=x",
    f"fromImage={IMAGE}+",
    "fromImage=docker.io/library/alpine",
    "fromImage=alpine&tag=3",
    f"fromImage=%61lpine/{IMAGE}",
    "fromImage=registry.example.com:50001/x",
    "fromImage=registry.example.com%3A5000.evil.example/x",
    f"fromImage={IMAGE}&platform=%00",
    f"&fromImage={IMAGE}&&",
]


def chunked(body: str) -> str:
    """Give a body in one chunk."""
    return f"{len(body):x}\r\n{body}\r\n0\r\n\r\n"


FORM = "Content-Type: application/x-www-form-urlencoded"
WRAPPED = f'{{"Image": "{IMAGE}", "NetworkMode": "{NETWORK}", "HostConfig": {{"NetworkMode": "host"}}}}'
OUTSIDE = f'{{"Image": "{IMAGE}", "NetworkMode": "{NETWORK}", "HostConfig": {{"Memory": 1}}}}'
SPACES = " " * 119000

BODIES: dict[str, Any] = {
    "empty": "",
    "blank": "   ",
    "object": "{}",
    "list": f"[{PASS_BODY}]",
    "null": "null",
    "string": '"x"',
    "network-outside": OUTSIDE,
    "network-at-both-places": WRAPPED,
    "no-network": {"Image": IMAGE, "HostConfig": {}},
    "no-host-config": {"Image": IMAGE},
    "host-config-null": {"Image": IMAGE, "HostConfig": None},
    "host-config-list": {"Image": IMAGE, "HostConfig": [task()["HostConfig"]]},
    "no-image": {"HostConfig": task()["HostConfig"]},
    "byte-order-mark": "\ufeff" + PASS_BODY,
    "utf-16": PASS_BODY.encode("utf-16"),
    "utf-8-broken": PASS_BODY.encode()[:-1] + b', "\xff": 1}',
    "nul-behind": PASS_BODY + "\0",
    "nul-before": "\0" + PASS_BODY,
    "form-feed": "\f" + PASS_BODY,
    "no-break-space": "\u00a0" + PASS_BODY,
    "second-behind": PASS_BODY + PRIVILEGED,
    "second-on-a-line": PASS_BODY + "\n" + PRIVILEGED,
    "brace-behind": PASS_BODY + "}",
    "comma-behind": PASS_BODY + ",",
    "cut": PASS_BODY[:-1],
    "single-quotes": PASS_BODY.replace('"', "'"),
    "too-large": PASS_BODY[:-1] + " " * 120000 + "}",
    "privileged-behind-much": '{"Env": ["' + "x" * 119000 + '"],' + json.dumps(task(Privileged=True))[1:],
    "privileged-behind-the-buffer": '{"Env": ["' + "x" * 140000 + '"],' + json.dumps(task(Privileged=True))[1:],
    "second-behind-much": PASS_BODY + SPACES + PRIVILEGED,
}


def table() -> dict[str, Hostile]:
    """Name -> what is refused."""
    rows: dict[str, bytes | Hostile] = {}
    for method, target in CALLS:
        rows[f"call {method} {target[:40]}"] = http(
            target, "{}" if method in ("POST", "PUT") else "", JSON, method=method
        )
    for target in CREATE_TARGETS:
        rows[f"path {target!r}"] = http(f"{target}?name={NAME}", PASS_BODY, JSON)
    for target in GET_TARGETS:
        rows[f"path GET {target}"] = http(target, method="GET")
    for query in CREATE_QUERIES:
        rows[f"query {query}"] = create(task(), query=query)
    for query in PULL_QUERIES:
        rows[f"pull {query}"] = http(f"/images/create?{query}", "", JSON)
    rows |= {f"host {key}": create(task(**{key: value})) for key, value in HOST_CONFIG.items()}
    rows |= {f"network {name}": create(task(NetworkMode=name)) for name in NETWORKS}
    rows |= {f"top {name}": create(top(text)) for name, text in TOP.items()}
    rows |= {f"key {name}": create(changed(text).encode(errors="surrogateescape")) for name, text in KEYS.items()}
    rows |= {
        f"number {text}": create(changed('"PidsLimit": 1').replace("536870912", text).replace(', "PidsLimit": 1', ""))
        for text in NUMBERS
    }
    rows |= {f"image {name}": create(PASS_BODY.replace(IMAGE, name)) for name in IMAGES}
    rows |= {f"body {name}": create(body) for name, body in BODIES.items()}
    length = f"Content-Length: {len(PASS_BODY)}"
    both = f"Content-Length: {len(chunked(PASS_BODY))}"
    parts = chunked(PASS_BODY)
    coded = "Transfer-Encoding: chunked"
    pull = f"/images/create?fromImage={IMAGE}"
    rows |= {
        "type form": http(f"/containers/create?name={NAME}", PASS_BODY, FORM),
        "type none": http(f"/containers/create?name={NAME}", PASS_BODY),
        "type text": http(f"/containers/create?name={NAME}", PASS_BODY, "Content-Type: text/plain"),
        "type two": http(f"/containers/create?name={NAME}", PASS_BODY, FORM, JSON),
        "type two turned": http(f"/containers/create?name={NAME}", PASS_BODY, JSON, FORM),
        "type list": http(f"/containers/create?name={NAME}", PASS_BODY, f"{JSON}, application/x-www-form-urlencoded"),
        "type empty": http(f"/containers/create?name={NAME}", PASS_BODY, "Content-Type:"),
        "type name in form": http(f"/containers/create?name={NAME}", "name=supervisor", FORM),
        "pull form": http(pull, "fromSrc=http://192.0.2.1/x", FORM),
        "pull form alone": http("/images/create", f"fromImage={IMAGE}", FORM),
        "pull form empty": http(pull, "a=", FORM),
        "pull form with parameters": http(pull, "fromSrc=x", f"{FORM}; charset=utf-8"),
        "pull multipart": http(
            pull,
            '--x\r\nContent-Disposition: form-data; name="fromSrc"\r\n\r\ny\r\n--x--',
            "Content-Type: multipart/form-data; boundary=x",
        ),
        "pull no type": http(pull, "fromSrc=x"),
        "pull archive": http(pull, "x" * 3000, "Content-Type: application/x-tar"),
        "pull large": http(pull, "x" * 3000, JSON),
        "start with settings": http(f"/containers/{IDENTITY}/start", '{"Privileged": true}', JSON),
        "start with form": http(f"/containers/{IDENTITY}/start", "checkpoint=x", FORM),
        "get with body": http("/images/none/json", PASS_BODY, JSON, method="GET"),
        "encoded gzip": create(task(), "Content-Encoding: gzip"),
        "encoded identity": create(task(), "Content-Encoding: identity"),
        "chunked": bare(*HOSTED, coded, body=parts),
        "chunked hostile": bare(*HOSTED, coded, body=chunked(PRIVILEGED)),
        "chunked twice": bare(*HOSTED, coded, coded, body=parts),
        "chunked identity": bare(*HOSTED, "Transfer-Encoding: identity", length, body=PASS_BODY),
        "chunked gzip": bare(*HOSTED, "Transfer-Encoding: gzip, chunked", body=parts),
        "chunked unknown": bare(*HOSTED, "Transfer-Encoding: xchunked", length, body=PASS_BODY),
        "chunked upper": bare(*HOSTED, "TRANSFER-ENCODING: CHUNKED", body=parts),
        "chunked blank before colon": bare(*HOSTED, "Transfer-Encoding : chunked", length, body=parts),
        "chunked folded": bare(*HOSTED, "Transfer-Encoding:\r\n chunked", length, body=parts),
        "chunked vertical tab": bare(*HOSTED, "Transfer-Encoding: \x0bchunked", length, body=parts),
        "chunked quoted": bare(*HOSTED, 'Transfer-Encoding: "chunked"', length, body=parts),
        "chunked empty": bare(*HOSTED, "Transfer-Encoding:", length, body=PASS_BODY),
        "chunked in 1.0": bare(CREATE.replace("1.1", "1.0"), "Host: docker", JSON, coded, body=parts),
        "length and chunked": bare(*HOSTED, both, coded, body=parts),
        "chunked and length": bare(*HOSTED, coded, "Content-Length: 4", body=parts),
        "bad chunk": bare(*HOSTED, coded, body=f"zz\r\n{PASS_BODY}\r\n0\r\n\r\n"),
        "huge chunk": bare(*HOSTED, coded, body=f"fffffffffffffffff\r\n{PASS_BODY}\r\n0\r\n\r\n"),
        "two lengths": bare(*HOSTED, length, "Content-Length: 2", body=PASS_BODY),
        "two lengths turned": bare(*HOSTED, "Content-Length: 2", length, body=PASS_BODY),
        "length list": bare(*HOSTED, f"Content-Length: {len(PASS_BODY)}, 2", body=PASS_BODY),
        "length negative": bare(*HOSTED, "Content-Length: -1", body=PASS_BODY),
        "length plus": bare(*HOSTED, f"Content-Length: +{len(PASS_BODY)}", body=PASS_BODY),
        "length hex": bare(*HOSTED, f"Content-Length: {len(PASS_BODY):#x}", body=PASS_BODY),
        "length huge": bare(*HOSTED, "Content-Length: 99999999999999999999", body=PASS_BODY),
        "length empty": bare(*HOSTED, "Content-Length:", body=PASS_BODY),
        "length folded": bare(*HOSTED, f"Content-Length:\r\n {len(PASS_BODY)}", body=PRIVILEGED),
        "length short": bare(*HOSTED, f"Content-Length: {len(PASS_BODY) - 1}", body=PASS_BODY),
        "length long": bare(*HOSTED, f"Content-Length: {len(PASS_BODY) + 9}", body=PASS_BODY),
        "no length": bare(*HOSTED, body=PASS_BODY),
        "line feeds": bare(*HOSTED, f"Content-Length: {len(PRIVILEGED)}", body=PRIVILEGED).replace(b"\r\n", b"\n"),
        "hostile in 1.0": create(task(Privileged=True), version="1.0"),
        "hostile in 0.9": b"GET /containers/json\r\n\r\n",
        "hostile in 2.0": create(task(Privileged=True), version="2.0"),
        "hostile in 1.9": create(task(Privileged=True), version="1.9"),
        "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
        "http/2 upgrade": create(
            task(Privileged=True),
            "Connection: Upgrade, HTTP2-Settings",
            "Upgrade: h2c",
            "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        ),
        "upgrade": create(task(Privileged=True), "Connection: Upgrade", "Upgrade: tcp"),
        "upgrade of an exec": http(f"/exec/{IDENTITY}/start", "{}", JSON, "Connection: Upgrade", "Upgrade: tcp"),
        "websocket": http(
            f"/containers/{IDENTITY}/attach/ws", "", "Connection: Upgrade", "Upgrade: websocket", method="GET"
        ),
        "expect": create(task(Privileged=True), "Expect: 100-continue"),
        "expect unknown": create(task(Privileged=True), "Expect: 200-ok"),
        "other method": create(task(Privileged=True), "X-HTTP-Method-Override: GET"),
        "length hop by hop": create(task(Privileged=True), "Connection: content-length"),
        "type hop by hop": http(pull, "fromSrc=x", FORM, "Connection: content-type"),
        "other path": http(
            "/images/none/json", "", f"X-Original-URL: /containers/create?name={NAME}", "X-Rewrite-URL: /info"
        ),
        "large head": create(task(Privileged=True), "X-Large: " + "x" * 100000),
        "larger head": create(task(Privileged=True), "X-Large: " + "x" * 140000),
        "head and body": create(
            '{"Env": ["' + "x" * 60000 + '"],' + json.dumps(task(Privileged=True))[1:], "X-Large: " + "x" * 64000
        ),
        "body beyond the buffer": create(PASS_BODY + " " * 60000 + PRIVILEGED, "X-Large: " + "x" * 70000),
        "many lines": create(task(Privileged=True), *(f"X-{number}: y" for number in range(200))),
        "nul in head": bare(*HOSTED, "X: a\0b", f"Content-Length: {len(PRIVILEGED)}", body=PRIVILEGED),
        "bad header name": bare(*HOSTED, "X Y: z", f"Content-Length: {len(PRIVILEGED)}", body=PRIVILEGED),
        "no host": bare(CREATE, JSON, f"Content-Length: {len(PRIVILEGED)}", body=PRIVILEGED),
        "blank before": b"\r\n\r\n" + create(task(Privileged=True)),
        "slow": Hostile(create(task(Privileged=True)), pause=1),
        "slow head": Hostile(create(task(Privileged=True), "X-Large: " + "x" * 4000), pause=1),
        "pipelined refused": http("/_ping", method="GET") + create(task(Privileged=True)) + http("/info", method="GET"),
        "pipelined benign": Hostile(
            GET_NONE + create(task(Privileged=True)) + GET_NONE + http("/containers/json", method="GET"), 2
        ),
        "in the body of a get": Hostile(
            bare(f"{BENIGN} HTTP/1.1", "Host: docker", "Content-Length: 2", JSON, body="{}")
            + create(task(Privileged=True)),
            1,
        ),
        "in chunks of a get": bare(f"{BENIGN} HTTP/1.1", "Host: docker", coded, body="0\r\n\r\n")
        + create(task(Privileged=True)),
        "in chunks of a get in 1.0": bare(f"{BENIGN} HTTP/1.0", coded, "Connection: keep-alive", body="0\r\n\r\n")
        + create(task(Privileged=True)),
        "behind a body that is longer": Hostile(
            bare(f"{BENIGN} HTTP/1.1", "Host: docker", "Content-Length: 0") + create(task(Privileged=True)), 1
        ),
        "behind a refused body": create(PRIVILEGED) + http("/containers/json", method="GET"),
        "head inside a create": create(PRIVILEGED + "\r\n\r\nGET /containers/json HTTP/1.1\r\nHost: x\r\n\r\n"),
    }
    return {name: row if isinstance(row, Hostile) else Hostile(row) for name, row in rows.items()}


HOSTILE = table()
