# SPDX-License-Identifier: MIT
"""Pictures of the page of the status for the documents: `make pictures` takes them anew, in a real browser.

Each picture carries a digest of the page that it shows. A test compares it with the page of today.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from testbed.common import ROOT, require

sys.path.insert(0, str(ROOT / "collections"))

from ansible_collections.selfhosted.trigger_dev.plugins.module_utils._status import page, report

FOLDER = Path("docs/pictures")
# As Chromium numbers them.
THEMES = {"dark": 0, "light": 1}
WIDTH, HEIGHT, MARGIN = 1000, 2000, 24
COLOURS = 64
# Of the chunk of PNG in which the digest is.
KEY = b"page"
FACTS = {
    "scope": "all",
    "origin": "https://trigger.example.com",
    "trigger_version": "v4.5.12",
    "time": "2026-01-31 12:00:00 UTC",
}
CONTROL, WORKER = "control.example.com", "worker1.example.com"
SLOT = "replication slot task_runs_to_clickhouse_v1"
NAME = "https trigger.example.com"
ANSWER = "https://trigger.example.com/healthcheck answers 200; its certificate has"
# Host -> check -> what it tells when all is well.
WELL: Mapping[str, Mapping[str, str]] = {
    CONTROL: {
        "trigger-webapp/webapp": "Up 12 days (healthy)",
        "trigger-webapp/trigger-postgres": "Up 12 days (healthy)",
        "trigger-webapp/trigger-redis": "Up 12 days (healthy)",
        "drift of trigger-webapp": "containers are as its files say",
        SLOT: "active, 56 bytes behind",
        "runs": "3 executing, 412 ended within an hour",
        "queues": "runs for workers of bootstrap: 0; jobs of the engine: 2",
        NAME: f"{ANSWER} 67 days left",
        "backup": "9.4 h old, 5.2 GiB, the webapp was stopped for 14.1 s",
        "memory": "5.1 GiB of 15.6 GiB available (33 %)",
        "disk of /var/lib/docker": "61.4 GiB of 101.5 GiB free (60 %)",
        "clock": "differs from the controller's by at most 0.4 s",
    },
    WORKER: {
        "trigger-supervisor/supervisor": "Up 12 days (healthy)",
        f"heartbeat of {WORKER}": "12 s ago",
        "firewall of task containers": "its rules are in force",
        "disk of /var/lib/docker": "48.7 GiB of 101.5 GiB free (48 %)",
        "clock": "differs from the controller's by at most 0.5 s",
    },
}
# What is otherwise where a worker is stopped, a slot lags, and certificate, disk and backup want to be looked at.
WRONG: Mapping[str, Mapping[str, str]] = {
    CONTROL: {
        SLOT: "1.4 GiB behind, more than 1.0 GiB",
        NAME: f"{ANSWER} 5 days left, and was to be renewed before",
        "backup": "76.2 h old, 5.2 GiB, the webapp was stopped for 14.1 s; at most 30 h are allowed",
        "disk of /var/lib/docker": "5.1 GiB of 101.5 GiB free (5 %), less than 10 %",
    },
    WORKER: {
        "trigger-supervisor/supervisor": "Exited (0) 9 minutes ago",
        f"heartbeat of {WORKER}": "last heartbeat 540 s ago",
    },
}
CASES: Mapping[str, Mapping[str, Mapping[str, str]]] = {"healthy": {}, "broken": WRONG}


def checks(case: str) -> dict[str, list[dict[str, Any]]]:
    """Give the rows of each host, as modules return them."""
    wrong = CASES[case]
    return {
        host: [
            {"what": what, "ok": what not in wrong.get(host, {}), "detail": wrong.get(host, {}).get(what, detail)}
            for what, detail in rows.items()
        ]
        for host, rows in WELL.items()
    }


def pages() -> dict[str, str]:
    """Give the page of each case."""
    return {case: page(report(checks(case), [], FACTS)) for case in CASES}


def picture(case: str, theme: str) -> Path:
    return FOLDER / f"status-{case}-{theme}.png"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Read the chunks of a PNG file: kind and data."""
    at = 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        yield content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        at += length + 12


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def shown(content: bytes) -> str:
    """Give the digest of the page that a picture shows."""
    texts = (data.partition(b"\0") for kind, data in chunks(content) if kind == b"tEXt")
    return next((text.decode() for key, _, text in texts if key == KEY), "")


def browse(page: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Open a page as a user without a profile does."""
    fixed = ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr")
    profile = f"--user-data-dir={page.parent / 'profile'}"
    command = ["chromium", *fixed, profile, *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)


def photograph(page: Path, taken: Path, width: int, height: int, theme: str) -> None:
    size = f"--window-size={width},{height}"
    browse(page, size, f"--blink-settings=preferredColorScheme={THEMES[theme]}", f"--screenshot={taken}")


def crushed(taken: Path) -> bytes:
    """Cut off what is empty below, and keep as many colours as a table of them has."""
    from PIL import Image, ImageChops  # only `make pictures` has it

    with Image.open(taken) as found:
        whole = found.convert("RGB")
    empty = Image.new("RGB", whole.size, whole.getpixel((0, 0)))
    bottom = ImageChops.difference(whole, empty).getbbox()[3] + MARGIN
    kept = whole.crop((0, 0, whole.width, bottom)).quantize(COLOURS, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    kept.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def main() -> None:
    require({"chromium": "chromium"})
    with tempfile.TemporaryDirectory() as scratch:
        file, taken = Path(scratch) / "page.html", Path(scratch) / "taken.png"
        for case, text in pages().items():
            file.write_text(text)
            for theme in THEMES:
                photograph(file, taken, WIDTH, HEIGHT, theme)
                content = crushed(taken)
                # The last chunk, which has no data, takes 12 bytes.
                told = chunk(b"tEXt", KEY + b"\0" + digest(text).encode())
                path = ROOT / picture(case, theme)
                path.parent.mkdir(exist_ok=True)
                path.write_bytes(content[:-12] + told + content[-12:])
                print(f"{picture(case, theme)}: {path.stat().st_size // 1024} KiB")


if __name__ == "__main__":
    main()
