# SPDX-License-Identifier: MIT
"""Settings and connections that the parts of the webapp share."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web
from redis.asyncio import Redis
from redis.exceptions import RedisError

from doubles.rules import number
from doubles.webapp.database import Database
from doubles.webapp.log import log

T = TypeVar("T")


@dataclass(frozen=True)
class Settings:
    port: int
    app_origin: str
    api_origin: str
    stream_origin: str
    magic_link_secret: str
    session_secret: str
    encryption_key: str
    managed_worker_secret: str
    admin_emails: str
    whitelisted_emails: str
    registry_host: str
    registry_namespace: str
    clickhouse_url: str
    pending_executing_seconds: float
    executing_seconds: float
    dequeue_seconds: int
    payload_limit: int


def settings(environment: Mapping[str, str]) -> Settings:
    """`??` of the original: only an unset variable falls back, an empty one is kept."""

    def get(name: str, default: str = "") -> str:
        return environment.get(name, default)

    app_origin = get("APP_ORIGIN", "http://localhost:3030")
    api_origin = get("API_ORIGIN", app_origin)
    return Settings(
        port=int(environment.get("REMIX_APP_PORT") or environment.get("PORT") or 3000),
        app_origin=app_origin,
        api_origin=api_origin,
        stream_origin=get("STREAM_ORIGIN", api_origin),
        magic_link_secret=get("MAGIC_LINK_SECRET"),
        session_secret=get("SESSION_SECRET"),
        encryption_key=get("ENCRYPTION_KEY"),
        managed_worker_secret=get("MANAGED_WORKER_SECRET", "managed-secret"),
        admin_emails=get("ADMIN_EMAILS"),
        whitelisted_emails=get("WHITELISTED_EMAILS"),
        registry_host=get("V4_DEPLOY_REGISTRY_HOST", get("DEPLOY_REGISTRY_HOST")),
        registry_namespace=get("V4_DEPLOY_REGISTRY_NAMESPACE", get("DEPLOY_REGISTRY_NAMESPACE", "trigger")),
        clickhouse_url=get("CLICKHOUSE_URL"),
        pending_executing_seconds=number(environment, "RUN_ENGINE_TIMEOUT_PENDING_EXECUTING", 60000) / 1000,
        executing_seconds=number(environment, "RUN_ENGINE_TIMEOUT_EXECUTING", 300000) / 1000,
        dequeue_seconds=int(number(environment, "RUN_ENGINE_DEQUEUE_BLOCKING_TIMEOUT_SECONDS", 10)),
        payload_limit=int(number(environment, "TASK_PAYLOAD_OFFLOAD_THRESHOLD", 524288)),
    )


def redis_options(environment: Mapping[str, str], quirks: set[str]) -> dict[str, Any]:
    tls = "redis_tls" in quirks
    authorities = environment.get("NODE_EXTRA_CA_CERTS")
    return {
        "host": environment["REDIS_HOST"],
        "port": int(number(environment, "REDIS_PORT", 0)),
        "username": environment.get("REDIS_USERNAME") or None,
        "password": environment.get("REDIS_PASSWORD") or None,
        "ssl": tls,
        # Node trusts these beside its own.
        **({"ssl_ca_certs": authorities} if tls and authorities else {}),
    }


@dataclass
class State:
    environment: Mapping[str, str]
    settings: Settings
    quirks: set[str]
    database: Database
    redis: Redis
    counters: dict[str, int] = field(default_factory=dict)

    def count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """A Redis command as the original's client does it: while Redis refuses, it is asked again, without an end."""
        while True:
            try:
                return await call()
            except (RedisError, OSError) as failure:
                log("error", "Redis client error", error=str(failure))
                await asyncio.sleep(1)

    def print_redis(self, options: Mapping[str, Any]) -> None:
        """The original's run queue logs its whole configuration at start, the password with it."""
        log("info", "Initializing run queue", options={"keys": {}, "redis": dict(options)})


def reply(content: Any, status: int = 200) -> web.Response:
    return web.json_response(content, status=status, dumps=compact)


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), default=str)
