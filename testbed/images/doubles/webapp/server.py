# SPDX-License-Identifier: MIT
"""The webapp after its migrations: the rules of the environment, then the server and what runs beside it."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web
from redis.asyncio import Redis

from doubles.rules import fatal, line, load, number, quirks
from doubles.webapp.api import Api
from doubles.webapp.database import Database
from doubles.webapp.log import log, plain
from doubles.webapp.login import Login
from doubles.webapp.objectstore import object_store, prove
from doubles.webapp.replication import Replication
from doubles.webapp.runs import RunEngine
from doubles.webapp.state import State, redis_options, settings
from doubles.webapp.stop import seconds
from doubles.webapp.worker_auth import WorkerAuthentication, bootstrap

RULES = Path(__file__).with_name("rules.yml")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def access(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The access log, HSTS on everything, and no trailing slashes (socket.io's path has one)."""
    started, status = time.monotonic(), 500
    try:
        if request.path != "/" and request.path.endswith("/") and not request.path.startswith("/socket.io"):
            raise web.HTTPMovedPermanently(request.path.rstrip("/"))
        answer = await handler(request)
        status = answer.status
        if not answer.prepared:
            answer.headers["Strict-Transport-Security"] = "max-age=3153600000; includeSubDomains; preload"
        return answer
    except web.HTTPException as answer:
        status = answer.status
        raise
    finally:
        plain(f"{request.method} {request.path} {status} - - {(time.monotonic() - started) * 1000:.3f} ms")


async def serve() -> None:
    table, environment = load(RULES), os.environ
    wrong = quirks(table, environment)
    options = redis_options(environment, wrong)
    config = settings(environment)
    redis = Redis(**options, decode_responses=True, socket_connect_timeout=10, health_check_interval=30)
    database = Database(environment["DATABASE_URL"], int(number(environment, "DATABASE_CONNECTION_LIMIT", 10)))
    state = State(environment, config, wrong, database, redis)
    state.print_redis(options)
    engine, store = RunEngine(state), object_store(environment)
    api = Api(state, engine, WorkerAuthentication(state), store)

    app = web.Application(middlewares=[access], client_max_size=16 << 20)
    app.add_routes([*Login(state).routes(), *api.routes()])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "0.0.0.0", config.port)
    await site.start()
    plain(f"✅ server ready: http://localhost:{config.port} [NODE_ENV: {environment.get('NODE_ENV')}]")

    beside = [asyncio.create_task(bootstrap(state)), asyncio.create_task(engine.sweep())]
    if "no_replication" in wrong:
        plain("🗃️  Runs replication service not enabled")
    else:
        plain("🗃️  Runs replication service enabled")
        beside.append(asyncio.create_task(Replication(environment).lead(state)))
    if store:
        beside.append(asyncio.create_task(prove(store)))

    stop = asyncio.Event()
    for number_ in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number_, stop.set)
    await stop.wait()
    log("info", "SIGTERM received, closing")
    left = seconds(environment, line())
    await site.stop()
    for task in beside:
        task.cancel()
    await asyncio.gather(*beside, return_exceptions=True)
    await asyncio.sleep(math.inf if left is None else left)
    # Whatever is open then ends with the process.
    os._exit(0)


def main() -> None:
    table = load(RULES)
    for stage in ("node", "server"):
        problems = fatal(table, os.environ, stage)
        if problems:
            print("Error: Invalid environment variables", *problems, sep="\n  ", file=sys.stderr)
            sys.exit(1)
    asyncio.run(serve())


if __name__ == "__main__":
    main()
