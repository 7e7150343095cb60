# SPDX-License-Identifier: MIT
"""What removing a worker does to images, with an engine that only remembers."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
# A stand-in for the engine: a file for each image, and the images of containers.
DOCKER = """#!/bin/sh
case "$1 $2" in
"image ls") ls "$STORE" | tr _ / | grep "^$5:" ;;
"image inspect") test -e "$STORE/$(echo "$3" | tr / _)" ;;
"image rm") rm "$STORE/$(echo "$3" | tr / _)" ;;
"ps --all") case $5 in "ancestor=$USED") echo 1 ;; esac ;;
esac
"""
SUPERVISOR, PROXY = "ghcr.io/triggerdotdev/supervisor", "docker.io/library/haproxy:3.0"


@pytest.fixture(scope="module")
def script() -> str:
    rows: list[dict[str, Any]] = yaml.safe_load((ROOT / "roles/supervisor/tasks/host_absent.yml").read_text())
    text: str = rows[0]["vars"]["__supervisor_images_removal"]
    return text.replace("{% raw %}", "").replace("{% endraw %}", "")


@pytest.mark.parametrize("mode", ["dry", "remove"])
@pytest.mark.parametrize("used", ["", PROXY])
def test_images_of_ours_go_and_others_stay(tmp_path: Path, script: str, mode: str, used: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    there = {f"{SUPERVISOR}:v4.2.0", f"{SUPERVISOR}:v4.1.0", PROXY, "docker.io/library/haproxy:2.6"}
    for image in there:
        (store / image.replace("/", "_")).touch()
    (tmp_path / "docker").write_text(DOCKER)
    (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        ["sh", "-ec", script, "sh", mode, f"{SUPERVISOR}:v4.2.0", PROXY, "docker.io/tecnativa/proxy:1"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "STORE": str(store), "USED": used},
        capture_output=True,
        text=True,
        check=True,
    )
    gone = {f"{SUPERVISOR}:v4.2.0", f"{SUPERVISOR}:v4.1.0", PROXY} - {used}
    assert set(done.stdout.split()) == gone
    left = {path.name.replace("_", "/") for path in store.iterdir()}
    assert left == (there if mode == "dry" else there - gone)
