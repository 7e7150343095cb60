# SPDX-License-Identifier: MIT
"""Double of Electric's sync service: its start-up rules, its publication and slot, its health endpoint."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import psycopg2
from aiohttp import web

from doubles.postgres import prepare_replication, stream
from doubles.rules import Rule, fatal, load, number

RULES = Path(__file__).with_name("rules.yml")
LOG = logging.getLogger("electric")


def refusals(rules: list[Rule], environment: Mapping[str, str]) -> list[str]:
    found = fatal(rules, environment, "start")
    if environment.get("ELECTRIC_INSECURE") != "true" and not environment.get("ELECTRIC_SECRET"):
        found.append("ELECTRIC_SECRET is required unless ELECTRIC_INSECURE is true")
    return found


def names(environment: Mapping[str, str]) -> tuple[str, str]:
    suffix = environment.get("ELECTRIC_REPLICATION_STREAM_ID", "default")
    return f"electric_slot_{suffix}", f"electric_publication_{suffix}"


class Replication:
    """Keeps the slot in use; a database that is not there yet is asked again with growing pauses."""

    def __init__(self, url: str, slot: str, publication: str) -> None:
        self.url, self.slot, self.publication = url, slot, publication
        self.status = "waiting"
        self.stop = threading.Event()

    def on_message(self, payload: bytes, position: int) -> bool:
        return True

    def run(self) -> None:
        pause = 0.5
        while not self.stop.is_set():
            try:
                self.status = "starting"
                prepare_replication(self.url, self.slot, self.publication)
                self.status = "active"
                LOG.info("Starting replication from postgres")
                pause = 0.5
                stream(self.url, self.slot, self.publication, self.on_message, self.stop)
            except psycopg2.Error as failure:
                self.status = "waiting"
                LOG.error("Database connection failed: %s", str(failure).strip().splitlines()[0])
                self.stop.wait(pause)
                pause = min(pause * 2, 10)

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(
            text=f'{{"status":"{self.status}"}}',
            content_type="application/json",
            status=200 if self.status == "active" else 202,
        )


async def serve(replication: Replication, port: int) -> None:
    app = web.Application()
    app.router.add_get("/v1/health", replication.health)
    app.router.add_get("/", lambda _: asyncio.sleep(0, web.Response()))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()
    worker = threading.Thread(target=replication.run, daemon=True)
    worker.start()
    done = asyncio.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(signal_number, done.set)
    await done.wait()
    replication.stop.set()
    await asyncio.to_thread(worker.join, 3)
    await runner.cleanup()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s [%(levelname)s] %(message)s", stream=sys.stdout)
    problems = refusals(load(RULES), os.environ)
    if problems:
        sys.exit("** (RuntimeError) " + "; ".join(problems))
    storage = Path(os.environ.get("ELECTRIC_STORAGE_DIR", "./persistent"))
    storage.mkdir(parents=True, exist_ok=True)
    replication = Replication(os.environ["DATABASE_URL"], *names(os.environ))
    asyncio.run(serve(replication, int(number(os.environ, "ELECTRIC_PORT", 3000))))


if __name__ == "__main__":
    main()
