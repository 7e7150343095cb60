# SPDX-License-Identifier: MIT
"""Double of Grafana: it reads what is provisioned, lets its admin in, and asks Prometheus through its data source."""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import aiohttp
from aiohttp import web

from doubles.grafana.provisioning import Provisioned, ProvisioningError, load

LOG = logging.getLogger("grafana")
OPEN = ("/api/health", "/metrics", "/login")
METRICS = "# TYPE grafana_build_info gauge\ngrafana_build_info 1\n"


def setting(environment: Mapping[str, str], name: str, default: str = "") -> str:
    """Read a variable, or the file that its twin names; both at once end the genuine image's start."""
    file = environment.get(f"{name}__FILE")
    if file and name in environment:
        raise ProvisioningError(f"both {name} and {name}__FILE are set")
    return Path(file).read_text().strip() if file else environment.get(name, default)


class Grafana:
    def __init__(self, environment: Mapping[str, str]) -> None:
        paths = Path(environment.get("GF_PATHS_PROVISIONING", "/etc/grafana/provisioning"))
        self.user = setting(environment, "GF_SECURITY_ADMIN_USER", "admin")
        # As published. A deployment that forgets to set one would be open, here too.
        self.password = setting(environment, "GF_SECURITY_ADMIN_PASSWORD", "admin")
        self.anonymous = environment.get("GF_AUTH_ANONYMOUS_ENABLED", "false") == "true"
        self.provisioned: Provisioned = load(paths)
        # Its database.
        data = Path(environment.get("GF_PATHS_DATA", "/var/lib/grafana"))
        (data / "grafana.db").touch()

    def allowed(self, request: web.Request) -> bool:
        if request.path in OPEN or self.anonymous:
            return True
        given = request.headers.get("Authorization", "")
        wanted = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return hmac.compare_digest(given.encode(), wanted.encode())

    @web.middleware
    async def guard(self, request: web.Request, handler):  # type: ignore[no-untyped-def]
        if not self.allowed(request):
            return web.json_response({"message": "Unauthorized"}, status=401)
        return await handler(request)

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"database": "ok", "version": "12.1.0"})

    async def metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=METRICS, content_type="text/plain")

    async def search(self, request: web.Request) -> web.Response:
        boards = self.provisioned.dashboards
        rows = [
            {"uid": uid, "title": board["title"], "type": "dash-db", "folderTitle": self.provisioned.folders[uid]}
            for uid, board in boards.items()
        ]
        return web.json_response(rows)

    async def dashboard(self, request: web.Request) -> web.Response:
        board = self.provisioned.dashboards.get(request.match_info["uid"])
        if board is None:
            return web.json_response({"message": "Dashboard not found"}, status=404)
        return web.json_response({"dashboard": board, "meta": {"provisioned": True}})

    async def proxy(self, request: web.Request) -> web.Response:
        """Ask the data source with the login that was provisioned for it."""
        row = self.provisioned.datasources.get(request.match_info["uid"])
        if row is None:
            return web.json_response({"message": "Data source not found"}, status=404)
        login = None
        if row.get("basicAuth"):
            login = aiohttp.BasicAuth(row["basicAuthUser"], row.get("secureJsonData", {}).get("basicAuthPassword", ""))
        url = f"{row['url']}/{request.match_info['rest']}"
        async with (
            aiohttp.ClientSession(auth=login) as session,
            session.get(url, params=request.query) as answer,
        ):
            return web.Response(status=answer.status, body=await answer.read(), content_type="application/json")

    def application(self) -> web.Application:
        app = web.Application(middlewares=[self.guard])
        app.router.add_get("/api/health", self.health)
        app.router.add_get("/metrics", self.metrics)
        app.router.add_get("/api/search", self.search)
        app.router.add_get("/api/dashboards/uid/{uid}", self.dashboard)
        app.router.add_get("/api/datasources/proxy/uid/{uid}/{rest:.*}", self.proxy)
        return app


async def serve(grafana: Grafana) -> None:
    runner = web.AppRunner(grafana.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", 3000).start()
    LOG.info("HTTP Server Listen, %d dashboards", len(grafana.provisioned.dashboards))
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    await stop.wait()
    await runner.cleanup()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="logger=%(name)s level=%(levelname)s msg=%(message)s")
    try:
        grafana = Grafana(os.environ)
    except (ProvisioningError, OSError, ValueError) as error:
        LOG.error("failed to start: %s", error)
        sys.exit(1)
    asyncio.run(serve(grafana))


if __name__ == "__main__":
    main()
