# SPDX-License-Identifier: MIT
"""Double of the supervisor: connects, dequeues, starts runners through the Docker API, and speaks for them."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector, UnixConnector, web
from yarl import URL

from doubles import socketio
from doubles.authorities import trusted
from doubles.rules import fatal, load
from doubles.supervisor.config import (
    Settings,
    create_options,
    docker_base,
    image_reference,
    query_string,
    runner_environment,
    settings,
)

RULES = Path(__file__).with_name("rules.yml")
# Some of those that the genuine one serves, as an idle one has them; this one has no pool that grows.
METRICS = """# TYPE queue_consumer_pool_consumer_count gauge
queue_consumer_pool_consumer_count{strategy="none"} 10
# TYPE queue_consumer_pool_queue_length gauge
queue_consumer_pool_queue_length 0
"""
ACTIONS = "/engine/v1/worker-actions"
VERSION = os.environ.get("DOUBLE_VERSION", "4.2.0")
# Pauses between the five attempts of every call.
RETRIES = (0.5, 1, 2, 4)
FORWARDED = ("x-trigger-worker-runner-id", "x-trigger-worker-deployment-id")


def log(name: str, level: str, message: str, **fields: Any) -> None:
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = {"timestamp": stamp, "message": message, "level": level, "$name": name, **fields}
    print(json.dumps(line, separators=(",", ":"), default=str), flush=True)


class CallFailed(Exception):
    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Platform:
    """The webapp as the supervisor's client sees it."""

    def __init__(self, config: Settings, session: ClientSession) -> None:
        self.config = config
        self.session = session
        self.headers = {
            "Authorization": f"Bearer {config.token}",
            "x-trigger-worker-instance-name": config.instance,
            "x-trigger-worker-managed-secret": config.managed_secret,
        }

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        extra: Mapping[str, str] | None = None,
        retries: tuple[float, ...] = RETRIES,
    ) -> Any:
        """Refusals end the call at once, connection problems and 5xx are tried again."""
        headers = {**self.headers, "x-trigger-request-idempotency-key": str(uuid.uuid4()), **(extra or {})}
        failure = CallFailed("Connection error.")
        for wait in (*retries, None):
            try:
                async with self.session.request(
                    method, self.config.api_url + path, json=body, headers=headers, timeout=ClientTimeout(total=60)
                ) as answer:
                    text = await answer.text()
                    if answer.status == 200:
                        return json.loads(text)
                    failure = CallFailed(error_of(text), answer.status)
                    if answer.status < 500:
                        raise failure
            except (ClientError, TimeoutError, OSError, ValueError):
                failure = CallFailed("Connection error.")
            if wait is not None:
                await asyncio.sleep(wait)
        raise failure


def error_of(text: str) -> str:
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return text[:200]


class DockerError(Exception):
    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message)
        self.details = {"statusCode": status, "reason": message}


class Docker:
    """The calls that a run takes, without a version prefix: image, pull, create, start, and networks when several."""

    def __init__(self, config: Settings) -> None:
        self.config = config
        self.base, socket = docker_base(config.docker_host)
        self.session = ClientSession(
            connector=UnixConnector(path=socket) if socket else TCPConnector(),
            timeout=ClientTimeout(total=None, sock_connect=10),
            skip_auto_headers=["User-Agent"],
        )

    async def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        url = URL(self.base + path, encoded=True)
        # The client library names no type where it sends no body; ours would.
        unasked = ["Content-Type"] if body is None else []
        try:
            async with self.session.request(
                method, url, json=body, headers=headers, skip_auto_headers=unasked
            ) as answer:
                content = await answer.read()
                if answer.status >= 400:
                    raise DockerError(answer.status, content.decode(errors="replace")[:500])
                return content
        except (ClientError, TimeoutError, OSError) as failure:
            raise DockerError(None, str(failure)) from failure

    async def run(self, message: Mapping[str, Any], dequeued_ms: int) -> None:
        """Failures are logged and nothing else: the run waits for its time-out in the webapp."""
        config, name = self.config, "docker-workload-provider"
        image = image_reference(message["image"], config.strip_digest)
        options = create_options(
            config, message, image, runner_environment(config, message, dequeued_ms, int(time.time() * 1000))
        )
        step = "pull image"
        try:
            if not await self._has(image):
                await self._pull(image)
            step = "create container"
            created = await self.call("POST", f"/containers/create?{query_string(options)}", options)
            identity = json.loads(created)["Id"]
            if len(config.networks) > 1:
                await self._attach(identity)
            step = "start container"
            await self.call("POST", f"/containers/{identity}/start")
            log(name, "debug", "Container started", runnerId=options["name"])
        except DockerError as failure:
            log(name, "error", f"Failed to {step}", error=failure.details, runnerId=options["name"])

    async def _has(self, image: str) -> bool:
        try:
            await self.call("GET", f"/images/{image}/json")
        except DockerError as failure:
            log("docker-workload-provider", "info", "Pulling image", error=failure.details)
            return False
        return True

    async def _pull(self, image: str) -> None:
        """An error that Docker reports inside the stream is not noticed; it shows when the container is created."""
        headers = {"X-Registry-Auth": self.config.registry_auth} if self.config.registry_auth else None
        parameters = {"fromImage": image, **({"platform": self.config.platform} if self.config.platform else {})}
        # The client library repeats the query in the body, which the engine does not read.
        await self.call("POST", f"/images/create?{query_string(parameters)}", parameters, headers)

    async def _attach(self, container: str) -> None:
        wanted = list(self.config.networks[1:])
        try:
            found = json.loads(await self.call("GET", f"/networks?{query_string({'filters': {'name': wanted}})}"))
        except DockerError as failure:
            log("docker-workload-provider", "error", "Failed to list networks", error=failure.details)
            return
        for network in found:
            if network["Name"] in wanted:
                try:
                    await self.call("POST", f"/networks/{network['Id']}/connect", {"Container": container})
                except DockerError as failure:
                    log("docker-workload-provider", "error", "Failed to attach network", error=failure.details)


class Supervisor:
    def __init__(self, config: Settings, session: ClientSession) -> None:
        self.config = config
        self.platform = Platform(config, session)
        self.docker = Docker(config)

    # --- towards the runners ---------------------------------------------------------------------------------------

    async def health(self, request: web.Request) -> web.Response:
        """Says nothing about the connection to the webapp."""
        return web.Response(text="OK")

    async def forward(self, request: web.Request) -> web.Response:
        """A runner's call with the worker's credentials. Nobody is asked who they are, only ids are handed on."""
        path = request.path.replace("/api/v1/workload-actions", ACTIONS, 1)
        body = await request.json() if request.can_read_body else None
        extra = {name: request.headers[name] for name in FORWARDED if name in request.headers}
        try:
            return web.json_response(await self.platform.call(request.method, path, body, extra))
        except CallFailed as failure:
            action = path.rsplit("/", 1)[-1]
            log("workload-server", "error", f"Failed to {action} run", error=str(failure))
            # Whatever the webapp says: a runner tries again. A run survived 22 s of a refused secret (measured).
            return web.json_response({"error": str(failure)}, status=500)

    async def socket(self, request: web.Request) -> web.StreamResponse:
        return await socketio.serve(request, "/workload", True)

    async def serve(self) -> None:
        runs = "/api/v1/workload-actions/runs/{run}/snapshots"
        app = web.Application(client_max_size=16 << 20)
        app.add_routes([
            web.get("/health", self.health),
            web.get("/socket.io/", self.socket),
            web.post(runs + "/{snapshot}/attempts/start", self.forward),
            web.post(runs + "/{snapshot}/attempts/complete", self.forward),
            web.post(runs + "/{snapshot}/heartbeat", self.forward),
            web.get(runs + "/latest", self.forward),
        ])  # fmt: skip
        await listen(app, self.config.workload_host, self.config.workload_port)

    async def serve_metrics(self) -> None:
        app = web.Application()
        app.router.add_get("/metrics", lambda _: asyncio.sleep(0, web.Response(text=METRICS)))
        await listen(app, self.config.metrics_host, self.config.metrics_port)

    # --- towards the webapp ----------------------------------------------------------------------------------------

    async def connect(self) -> None:
        reply = await self.platform.call("POST", f"{ACTIONS}/connect", {"metadata": {"workerVersion": VERSION}})
        log("supervisor-session", "info", "Connected to platform", workerGroup=reply["workerGroup"])

    async def heartbeat(self) -> None:
        """The numbers are dummies in the original too; the first one comes after a full interval."""
        half = {"used": 0.5, "available": 0.5}
        while True:
            await asyncio.sleep(self.config.heartbeat_seconds)
            try:
                await self.platform.call("POST", f"{ACTIONS}/heartbeat", {"cpu": half, "memory": half, "tasks": []})
            except CallFailed as failure:
                log("supervisor-session", "error", "Failed to send heartbeat", error=str(failure))

    async def consume(self) -> None:
        config, body = self.config, {"maxRunCount": self.config.dequeue_count}
        while True:
            found: list[Any] = []
            try:
                found = await self.platform.call("POST", f"{ACTIONS}/dequeue", body, retries=())
            except CallFailed as failure:
                log("queue-consumer", "error", "Failed to dequeue", error=str(failure))
            for message in found:
                await self.docker.run(message, int(time.time() * 1000))
            await asyncio.sleep(config.dequeue_seconds if found else config.dequeue_idle_seconds)

    async def notifications(self) -> None:
        log("supervisor-session", "info", "Run notifications enabled")
        while True:
            connected = asyncio.Event()
            here, url = self.platform, self.config.api_url
            link = asyncio.create_task(socketio.connect(here.session, url, "/worker", here.headers, connected))
            told = asyncio.create_task(connected.wait())
            await asyncio.wait({link, told}, return_when=asyncio.FIRST_COMPLETED)
            if told.done():
                log("supervisor-session", "info", "[WS] Connected to platform")
            told.cancel()
            try:
                await link
                log("supervisor-session", "info", "[WS] Disconnected from platform")
            except (ClientError, TimeoutError, OSError, socketio.Refused) as failure:
                log("supervisor-session", "error", "[WS] Connection error", error=str(failure))
            await asyncio.sleep(1)

    async def run(self) -> None:
        config = self.config
        if config.workload_enabled:
            await self.serve()
        if config.metrics_enabled:
            await self.serve_metrics()
        await self.connect()
        work = [self.notifications()]
        if config.dequeue_enabled:
            log("supervisor-session", "info", "Queue consumer enabled")
            work += [self.heartbeat(), *(self.consume() for _ in range(config.consumers))]
        else:
            log("supervisor-session", "warn", "Queue consumer disabled")
        await asyncio.gather(*work)


async def listen(app: web.Application, host: str, port: int) -> None:
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()


async def start(config: Settings) -> None:
    # No drain: the signal ends the program at once, with the status of one that has no handler.
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, os._exit, 128 + number)
    connector = TCPConnector(limit=0, ssl=trusted(os.environ))
    async with ClientSession(connector=connector) as session:
        supervisor = Supervisor(config, session)
        async with supervisor.docker.session:
            await supervisor.run()


def main() -> None:
    table = load(RULES)
    for stage in ("schema", "client"):
        problems = fatal(table, os.environ, stage)
        if problems:
            sys.exit("ZodError: " + "; ".join(problems))
    try:
        config = settings(os.environ)
    except (OSError, ValueError) as failure:
        sys.exit(f"Error: {failure}")
    try:
        asyncio.run(start(config))
    except CallFailed as failure:
        log("supervisor-session", "error", "[SupervisorSession] Failed to connect", error=str(failure))
        sys.exit(1)


if __name__ == "__main__":
    main()
