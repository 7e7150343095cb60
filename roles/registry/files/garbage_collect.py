# SPDX-License-Identifier: MIT
"""Frees what no image in the registry refers to any more.

The playbook and the timer run this alike. The last line of the output is a JSON object with what was found and freed.

The registry can be read meanwhile and not be written to: a push into a collection loses layers. Afterwards it starts
anew in any case, because it keeps in mind which blobs it has; without that a later push "succeeds", and the image is
not there (measured with 2.8.3).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

READ_ONLY = "REGISTRY_STORAGE_MAINTENANCE_READONLY"
# Nothing was ever pushed.
EMPTY = re.compile(r"Path not found: \S*/docker/registry/v2/repositories")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
KINDS = {
    "blobs": re.compile(r"^blob eligible for deletion: ", re.MULTILINE),
    "manifests": re.compile(r"^manifest eligible for deletion: ", re.MULTILINE),
    "layer_links": re.compile(r"^\S+: layer link eligible for deletion: ", re.MULTILINE),
}

Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]


class CollectionError(Exception):
    """Something that keeps the collection from its end."""


class Ended(BaseException):
    """Somebody asked this program to end; the registry must become writable first."""


def run(argv: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # A session of its own: an interrupt that ends this program must not end Compose in the middle of something.
    return subprocess.run(
        list(argv), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, start_new_session=True
    )


class Registry:
    """The registry's Compose project."""

    def __init__(self, runner: Run, folder: str, service: str, config: str, timeout: int) -> None:
        self.runner, self.folder, self.service, self.config, self.timeout = runner, folder, service, config, timeout

    def compose(self, *words: str, files: Sequence[str] = ("compose.yml",)) -> subprocess.CompletedProcess[str]:
        named = [word for name in files for word in ("--file", os.path.join(self.folder, name))]
        return self.runner(["docker", "compose", "--project-directory", self.folder, *named, *words])

    def start(self, *files: str) -> None:
        words = ["up", "--detach", "--wait", "--wait-timeout", str(self.timeout)]
        done = self.compose(*words, files=files)
        if done.returncode != 0:
            raise CollectionError(f"The registry does not start: {error_text(done)}")

    def is_read_only(self) -> bool:
        """Say whether an interrupted collection left it so."""
        container = self.compose("ps", "--all", "--quiet", self.service).stdout.strip()
        if not container:
            return False
        return f"{READ_ONLY}=" in self.runner(["docker", "inspect", container]).stdout

    def collect(self, *flags: str) -> dict[str, int]:
        words = ["registry", "garbage-collect", *flags, self.config]
        done = self.compose("exec", "-T", self.service, *words)
        if done.returncode != 0 and not EMPTY.search(done.stderr):
            raise CollectionError(f"{' '.join(words)} failed: {error_text(done)}")
        return {kind: len(pattern.findall(done.stdout)) for kind, pattern in KINDS.items()}


def error_text(done: subprocess.CompletedProcess[str]) -> str:
    return (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}")[-1000:]


def sizes(folder: str) -> Iterator[int]:
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield os.lstat(os.path.join(parent, name)).st_blocks * 512
            except FileNotFoundError:  # a push that goes on meanwhile moves its files
                continue


def used(runner: Run, volume: str) -> int | None:
    """Measure the volume; none where the images are somewhere else."""
    if not volume:
        return None
    done = runner(["docker", "volume", "inspect", "--format", "{{.Mountpoint}}", volume])
    if done.returncode != 0:
        raise CollectionError(f"The volume of the registry cannot be found: {error_text(done)}")
    return sum(sizes(done.stdout.strip()))


def collect(registry: Registry, runner: Run, volume: str, flags: Sequence[str], dry: bool) -> dict[str, Any]:
    """Look, and if there is anything to free, collect between two starts of the registry."""
    left = registry.is_read_only()
    found = registry.collect(*flags, "--dry-run")
    if dry or not (left or any(found.values())):
        return {**found, "freed_bytes": None, "was_left_read_only": left}
    try:
        registry.start("compose.yml", "read-only.yml")
        before = used(runner, volume)
        found = registry.collect(*flags)
        after = used(runner, volume)
        if not registry.is_read_only():
            raise CollectionError(
                "The registry was deployed while its garbage was collected, which made it writable. Images that "
                "were pushed in that time may lack layers: push them again."
            )
    finally:
        for each in SIGNALS:  # the way back must not be broken off
            signal.signal(each, signal.SIG_IGN)
        registry.start("compose.yml")
    freed = None if before is None or after is None else max(0, before - after)
    return {**found, "freed_bytes": freed, "was_left_read_only": left}


def end(number: int, _frame: object) -> None:
    raise Ended(f"ended by signal {number}")


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Free what no image in the registry refers to any more.")
    parser.add_argument("--folder", required=True, help="folder of the registry's Compose project")
    parser.add_argument("--service", required=True, help="its service")
    parser.add_argument("--config", required=True, help="the registry's configuration file, in its container")
    parser.add_argument("--volume", default="", help="volume whose size is measured")
    parser.add_argument("--timeout", type=int, default=120, help="seconds until the registry must be healthy")
    parser.add_argument("--delete-untagged", action="store_true", help="delete manifests without a tag as well")
    parser.add_argument("--dry-run", action="store_true", help="look only")
    return parser.parse_args(words)


def main(words: Sequence[str], runner: Run = run) -> int:
    given = arguments(words)
    registry = Registry(runner, given.folder, given.service, given.config, given.timeout)
    flags = ["--delete-untagged"] if given.delete_untagged else []
    for each in SIGNALS:
        signal.signal(each, end)
    try:
        with open(os.path.join(given.folder, "compose.yml"), encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            print(json.dumps(collect(registry, runner, given.volume, flags, given.dry_run)))
    except BlockingIOError:
        print("Another collection of the registry's garbage is under way. Try again later.", file=sys.stderr)
        return 1
    except (CollectionError, Ended, OSError) as error:
        # The way back may have failed behind something else.
        print(error, *filter(None, [error.__context__]), sep="\n", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
