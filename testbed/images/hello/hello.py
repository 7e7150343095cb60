# SPDX-License-Identifier: MIT
"""A runner with one task: it proves that it reaches supervisor, API, telemetry endpoint and object store.

What it gets as environment is what the supervisor gives to every runner; everything else comes with the attempt.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from typing import Any

# Outputs above this size go to the object store.
INLINE_LIMIT = 128 * 1024
# Of what goes there. The SDK takes from this header of a download how the value is written.
PACKET_TYPE = "application/super+json"
RETRIES = (0.5, 1, 2, 4)
# A call of the task itself goes past the supervisor, which bridges a webapp that is away for 34 s (measured).
API_RETRIES = (*RETRIES, 8, 16)
HEARTBEAT_SECONDS = 30.0


class Unreachable(Exception):
    pass


def trusted(extra: str | None) -> ssl.SSLContext:
    """As Node trusts: its own CAs and those of the file; a file that cannot be read is a line on stderr."""
    context = ssl.create_default_context()
    # Python's newest defaults, which Node does not share.
    context.verify_flags &= ~(ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN)
    if extra:
        try:
            context.load_verify_locations(cafile=extra)
        except OSError as failure:
            print(f"Warning: Ignoring extra certs from `{extra}`, load failed: {failure}", file=sys.stderr)
    return context


TRUST = trusted(os.environ.get("NODE_EXTRA_CA_CERTS"))


def request(method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> tuple[int, bytes]:
    call = urllib.request.Request(url, data=body, method=method, headers=headers)
    try:
        with urllib.request.urlopen(call, timeout=15, context=TRUST) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()
    except OSError as failure:
        raise Unreachable(f"{method} {url}: {failure}") from failure


def patiently(
    method: str, url: str, headers: dict[str, str], body: bytes | None = None, retries: tuple[float, ...] = RETRIES
) -> tuple[int, bytes]:
    """As a runner calls: about seven seconds of patience with a connection that fails, and so with a server's error.

    A supervisor that does not reach the webapp answers with one after as long a time: five times that is patience
    enough for a webapp that is away for 34 s (measured).
    """
    for pause in retries:
        try:
            status, answer = request(method, url, headers, body)
            if status < 500:
                return status, answer
        except Unreachable:
            pass
        time.sleep(pause)
    return request(method, url, headers, body)


def post(url: str, headers: dict[str, str], content: Any) -> tuple[int, bytes]:
    return patiently("POST", url, {**headers, "Content-Type": "application/json"}, json.dumps(content).encode())


def work(seconds: float, beat: Callable[[], object]) -> None:
    """Let time pass as a runner does: it tells in between that it lives; that nobody hears it does not end the run."""
    while seconds > HEARTBEAT_SECONDS:
        time.sleep(HEARTBEAT_SECONDS)
        seconds -= HEARTBEAT_SECONDS
        with suppress(Unreachable):
            beat()
    time.sleep(seconds)


def reach(target: str) -> str:
    host, _, port = target.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except socket.gaierror:
        return "unresolved"
    except TimeoutError:
        return "timeout"
    except ConnectionRefusedError:
        return "refused"
    except OSError as failure:
        return failure.strerror or "error"
    return "open"


def issuer(url: str) -> str | None:
    """Who has signed what the host shows, once the chain is verified; nobody where the address is plain http."""
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return None
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), timeout=15) as plain,
            TRUST.wrap_socket(plain, server_hostname=parts.hostname) as wrapped,
        ):
            shown: dict[str, Any] = wrapped.getpeercert() or {}
    except OSError as failure:
        raise Unreachable(f"{url}: {failure}") from failure
    return str(dict(pair for pairs in shown["issuer"] for pair in pairs)["commonName"])


def asked(url: str) -> str | None:
    """The issuer, or why there is none."""
    try:
        return issuer(url)
    except Unreachable as failure:
        return str(failure)


def span(run: str, started: int) -> dict[str, Any]:
    return {
        "resourceSpans": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "hello"}}]},
            "scopeSpans": [{"scope": {"name": "hello"}, "spans": [{
                "traceId": secrets.token_hex(16), "spanId": secrets.token_hex(8), "name": run, "kind": 1,
                "startTimeUnixNano": str(started), "endTimeUnixNano": str(time.time_ns()),
            }]}],
        }]
    }  # fmt: skip


def telemetry(run: str, started: int) -> int | str:
    """Lost telemetry does not fail a run, so its outcome is only reported."""
    try:
        return post(f"{os.environ['OTEL_EXPORTER_OTLP_ENDPOINT']}/v1/traces", {}, span(run, started))[0]
    except Unreachable as failure:
        return str(failure)


class Api:
    def __init__(self, variables: dict[str, str]) -> None:
        self.base = variables["TRIGGER_API_URL"]
        self.headers = {"Authorization": f"Bearer {variables['TRIGGER_SECRET_KEY']}"}

    def get(self, path: str) -> tuple[int, bytes]:
        return patiently("GET", self.base + path, self.headers, retries=API_RETRIES)

    def presigned(self, method: str, name: str) -> str:
        status, body = request(method, f"{self.base}/api/v1/packets/{name}", self.headers)
        if status != 200:
            raise Unreachable(f"{method} packet: {status}")
        return str(json.loads(body)["presignedUrl"])

    def store(self, name: str, text: str) -> None:
        status, body = request("PUT", self.presigned("PUT", name), {"Content-Type": PACKET_TYPE}, text.encode())
        if status != 200:
            raise Unreachable(f"upload: {status} {body[:200].decode(errors='replace')}")

    def load(self, name: str) -> Any:
        status, body = request("GET", self.presigned("GET", name), {})
        if status != 200:
            raise Unreachable(f"download: {status}")
        return json.loads(body)


def main() -> None:
    started, environment = time.time_ns(), os.environ
    run, snapshot, runner = (environment[f"TRIGGER_{name}"] for name in ("RUN_ID", "SNAPSHOT_ID", "RUNNER_ID"))
    supervisor = "{}://{}:{}".format(
        *(environment[f"TRIGGER_SUPERVISOR_API_{name}"] for name in ("PROTOCOL", "DOMAIN", "PORT"))
    )
    headers = {"x-trigger-worker-runner-id": runner}
    attempts = f"{supervisor}/api/v1/workload-actions/runs/{run}/snapshots"

    status, body = post(f"{attempts}/{snapshot}/attempts/start", headers, {"isWarmStart": False})
    if status != 200:
        sys.exit(f"[execution] failed to start attempt: {status} {body.decode(errors='replace')}")
    attempt = json.loads(body)
    snapshot = attempt["snapshot"]["friendlyId"]
    api = Api(attempt["envVars"])
    task = attempt["execution"]["run"]
    payload = api.load(task["payload"]) if task["payloadType"] == "application/store" else json.loads(task["payload"])

    code = api.get(f"/api/v3/runs/{run}")[0]
    health = patiently("GET", f"{supervisor}/health", {})[0]
    if (code, health) != (200, 200):
        sys.exit(f"api {code}, supervisor {health}")
    output: dict[str, Any] = {
        "runner": runner,
        "api": code,
        "origin": api.base,
        "issuer": issuer(api.base),
        "issuers": {url: asked(url) for url in payload.get("issuers", [])},
        "supervisor": health,
        "otel": telemetry(run, started),
        "reach": {target: reach(target) for target in payload.get("reach", [])},
    }
    if payload.get("pad"):
        output["pad"] = "x" * int(payload["pad"])
    work(float(payload.get("sleep", 0)), lambda: post(f"{attempts}/{snapshot}/heartbeat", headers, {}))
    completion: dict[str, Any] = {"ok": True, "id": run, "output": json.dumps(output), "outputType": "application/json"}
    if len(completion["output"]) > INLINE_LIMIT:
        name = f"{run}/output.json"
        api.store(name, completion["output"])
        completion.update(output=name, outputType="application/store")
    status, body = post(f"{attempts}/{snapshot}/attempts/complete", headers, {"completion": completion})
    if status != 200:
        sys.exit(f"complete: {status} {body.decode(errors='replace')}")
    print(json.dumps({key: value for key, value in output.items() if key != "pad"}))


if __name__ == "__main__":
    try:
        main()
    except Unreachable as failure:
        sys.exit(f"Connection error: {failure}")
