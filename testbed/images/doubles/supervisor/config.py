# SPDX-License-Identifier: MIT
"""The supervisor's environment, and what of it runners and the Docker API get. Pure."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from doubles.rules import boolean, number

GIB = 1024**3
FILE = "file://"


@dataclass(frozen=True)
class Settings:
    api_url: str
    token: str
    managed_secret: str
    otel: str
    instance: str
    heartbeat_seconds: float
    workload_enabled: bool
    workload_protocol: str
    workload_domain: str
    workload_host: str
    workload_port: int
    workload_port_external: int
    dequeue_enabled: bool
    dequeue_seconds: float
    dequeue_idle_seconds: float
    dequeue_count: int
    consumers: int
    networks: tuple[str, ...]
    autoremove: bool
    enforce_presets: bool
    strip_digest: bool
    registry_auth: str | None
    docker_host: str
    platform: str
    pretty_logs: bool
    additional: dict[str, str]
    metrics_enabled: bool
    metrics_host: str
    metrics_port: int


def read_token(value: str) -> str:
    """A token, or file:// and the path of the file that holds it; read once, trimmed."""
    text = Path(value.removeprefix(FILE)).read_text() if value.startswith(FILE) else value
    token = text.strip()
    if not token:
        raise ValueError("TRIGGER_WORKER_TOKEN is empty")
    return token


def registry_auth(environment: Mapping[str, str]) -> str | None:
    """The X-Registry-Auth header; only when address, name and password are all there."""
    url, user, password = (environment.get(f"DOCKER_REGISTRY_{part}", "") for part in ("URL", "USERNAME", "PASSWORD"))
    if not (url and user and password):
        return None
    body = {"username": user, "password": password, "serveraddress": url}
    return base64.urlsafe_b64encode(json.dumps(body, separators=(",", ":")).encode()).decode()


def additional_variables(text: str) -> dict[str, str]:
    """k=v,k=v; a value that holds a comma or a second equals sign is cut there."""
    parts = (part.split("=") for part in text.split(",") if part)
    return {pair[0].strip(): pair[1].strip() for pair in parts if len(pair) > 1 and pair[0].strip()}


def docker_base(host: str) -> tuple[str, str | None]:
    """Base address of the Docker API, and the path of the socket when it is one."""
    if host.startswith("tcp://"):
        return "http://" + host.removeprefix("tcp://").rstrip("/"), None
    return "http://localhost", host.removeprefix("unix://") if host.startswith("unix://") else "/var/run/docker.sock"


def settings(environment: Mapping[str, str]) -> Settings:
    get = environment.get
    port = int(number(environment, "TRIGGER_WORKLOAD_API_PORT_INTERNAL", 8020))
    strategy = get("TRIGGER_DEQUEUE_SCALING_STRATEGY", "none")
    most = int(number(environment, "TRIGGER_DEQUEUE_MAX_CONSUMER_COUNT", 10))
    return Settings(
        api_url=environment["TRIGGER_API_URL"].rstrip("/"),
        token=read_token(environment["TRIGGER_WORKER_TOKEN"]),
        managed_secret=environment["MANAGED_WORKER_SECRET"],
        otel=environment["OTEL_EXPORTER_OTLP_ENDPOINT"],
        instance=get("TRIGGER_WORKER_INSTANCE_NAME", str(uuid.uuid4())),
        heartbeat_seconds=number(environment, "TRIGGER_WORKER_HEARTBEAT_INTERVAL_SECONDS", 30),
        workload_enabled=boolean(environment, "TRIGGER_WORKLOAD_API_ENABLED", True),
        workload_protocol=get("TRIGGER_WORKLOAD_API_PROTOCOL", "http"),
        workload_domain=get("TRIGGER_WORKLOAD_API_DOMAIN", "localhost"),
        workload_host=get("TRIGGER_WORKLOAD_API_HOST_INTERNAL", "0.0.0.0"),
        workload_port=port,
        workload_port_external=int(number(environment, "TRIGGER_WORKLOAD_API_PORT_EXTERNAL", 8020)),
        dequeue_enabled=boolean(environment, "TRIGGER_DEQUEUE_ENABLED", True),
        dequeue_seconds=number(environment, "TRIGGER_DEQUEUE_INTERVAL_MS", 250) / 1000,
        dequeue_idle_seconds=number(environment, "TRIGGER_DEQUEUE_IDLE_INTERVAL_MS", 1000) / 1000,
        dequeue_count=int(number(environment, "TRIGGER_DEQUEUE_MAX_RUN_COUNT", 1)),
        # Measured: without scaling the largest number of consumers polls at once.
        consumers=most if strategy == "none" else int(number(environment, "TRIGGER_DEQUEUE_MIN_CONSUMER_COUNT", 1)),
        networks=tuple(get("DOCKER_RUNNER_NETWORKS", "host").split(",")),
        autoremove=boolean(environment, "DOCKER_AUTOREMOVE_EXITED_CONTAINERS", True),
        enforce_presets=boolean(environment, "DOCKER_ENFORCE_MACHINE_PRESETS", True),
        strip_digest=boolean(environment, "DOCKER_STRIP_IMAGE_DIGEST", True),
        registry_auth=registry_auth(environment),
        docker_host=get("DOCKER_HOST", ""),
        platform=get("DOCKER_PLATFORM", ""),
        pretty_logs=boolean(environment, "RUNNER_PRETTY_LOGS", False),
        additional=additional_variables(get("RUNNER_ADDITIONAL_ENV_VARS", "")),
        metrics_enabled=boolean(environment, "METRICS_ENABLED", True),
        metrics_host=get("METRICS_HOST", "127.0.0.1"),
        metrics_port=int(number(environment, "METRICS_PORT", 9090)),
    )


def runner_id(run: str, attempt: int) -> str:
    name = f"runner-{run.removeprefix('run_')}"
    return f"{name}-attempt-{attempt}" if attempt > 1 else name


def image_reference(image: str, strip_digest: bool) -> str:
    return image.partition("@")[0] if strip_digest else image


def runner_environment(config: Settings, message: Mapping[str, Any], dequeued_ms: int, scheduled_ms: int) -> list[str]:
    run = message["run"]
    variables: dict[str, Any] = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": config.otel,
        "TRIGGER_DEQUEUED_AT_MS": dequeued_ms,
        "TRIGGER_POD_SCHEDULED_AT_MS": scheduled_ms,
        "TRIGGER_ENV_ID": message["environment"]["id"],
        "TRIGGER_RUN_ID": run["friendlyId"],
        "TRIGGER_SNAPSHOT_ID": message["snapshot"]["friendlyId"],
        "TRIGGER_SUPERVISOR_API_PROTOCOL": config.workload_protocol,
        "TRIGGER_SUPERVISOR_API_PORT": config.workload_port_external,
        "TRIGGER_SUPERVISOR_API_DOMAIN": config.workload_domain,
        "TRIGGER_WORKER_INSTANCE_NAME": config.instance,
        "TRIGGER_RUNNER_ID": runner_id(run["friendlyId"], run["attemptNumber"]),
        "TRIGGER_MACHINE_CPU": run["machine"]["cpu"],
        "TRIGGER_MACHINE_MEMORY": run["machine"]["memory"],
        "PRETTY_LOGS": "true" if config.pretty_logs else "false",
        **config.additional,
    }
    return [f"{name}={value}" for name, value in variables.items()]


def create_options(config: Settings, message: Mapping[str, Any], image: str, environment: list[str]) -> dict[str, Any]:
    run = message["run"]
    name = runner_id(run["friendlyId"], run["attemptNumber"])
    host: dict[str, Any] = {"NetworkMode": config.networks[0], "AutoRemove": config.autoremove}
    if config.enforce_presets:
        host["NanoCpus"] = int(run["machine"]["cpu"] * 1e9)
        host["Memory"] = int(run["machine"]["memory"] * GIB)
    return {
        "name": name, "Hostname": name, "HostConfig": host, "Image": image, "AttachStdout": False,
        "AttachStderr": False, "AttachStdin": False, "Env": environment,
    }  # fmt: skip


def query_string(options: Mapping[str, Any]) -> str:
    """The client library repeats every option in the query: maps and lists as JSON, the rest as text."""

    def text(value: Any) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        return json.dumps(value, separators=(",", ":")) if isinstance(value, (dict, list)) else str(value)

    return urlencode({name: text(value) for name, value in options.items()})
