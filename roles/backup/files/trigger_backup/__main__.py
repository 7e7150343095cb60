# SPDX-License-Identifier: MIT
"""The command line. The last line of the output is a JSON object with what was done; an error is one line."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .adopt import PLAN as ADOPT_PLAN
from .adopt import Adoption
from .adopt_source import SOURCE, source_of
from .clickhouse import ClickHouse
from .create import create, note, resume
from .engine import Engine
from .files import PLAN, Installation
from .images import Images
from .keys import Keys
from .move import TOLD, Move, accept, told_of
from .objects import Objects
from .plan import Plan, home, known_identity, plan_of, require_rotated, secrets_of, target_of, written_by
from .points import FAILED, PostgresPoint, bound, point, spans, state_at
from .postgres import Postgres
from .process import BackupError, Shell
from .quantity import moment
from .quantity import size as amount
from .receive import leave, receive
from .redis import Redis
from .repository import Repository, Snapshot
from .restore import Restore
from .runs import wait_for_run
from .sigv4 import Key
from .stores import Store
from .upgrade import Upgrade, require_finished
from .verify import Trial, verify

# Under which name a failure is kept.
FAILURES = {"create": "failed", "verify": "unverified", "point": FAILED}
# They wait for another one: a timer must not fail because of that.
WAITING = ("create", "resume", "verify", "point")
# They also wait for a run of a playbook that changes the installation.
TIMED = ("create", "verify", "point")
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def stores_of(plan: Plan, engine: Engine, secrets: Mapping[str, str]) -> list[Store]:
    """Give the stores of a plan, in the order in which they are held, copied and restored."""
    rows = plan.stores
    known: dict[str, Any] = {
        "files": lambda _: Installation(plan),
        "postgres": lambda row: Postgres(engine, row),
        "redis": lambda row: Redis(engine, row),
        "clickhouse": lambda row: ClickHouse(engine, row, secrets["clickhouse_password"]),
        "objects": lambda row: Objects(
            engine, row, Key(secrets["object_store_access_key"], secrets["object_store_secret_key"])
        ),
        "images": lambda row: Images(engine, row),
    }
    return [make(rows.get(name, {})) for name, make in known.items() if name in rows or name == "files"]


def point_stores(plan: Plan, engine: Engine, secrets: Mapping[str, str]) -> list[Store]:
    """Give the stores of a point: of Postgres the log, and nothing of ClickHouse."""
    rows = [store for store in stores_of(plan, engine, secrets) if store.name != "clickhouse"]
    for number, store in enumerate(rows):
        if isinstance(store, Objects):
            store.trusting = True
        if isinstance(store, Postgres):
            rows[number] = PostgresPoint(engine, plan.stores["postgres"], plan, say)
    return rows


def arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="trigger-backup", description="Back up an installation of Trigger.dev.")
    parser.add_argument("--directory", type=Path, default=Path("/opt/trigger"), help="folder of the installation")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("create", help="make a backup")
    commands.add_parser("resume", help="start a webapp that an interrupted backup has left stopped")
    commands.add_parser("list", help="list the backups")
    commands.add_parser("verify", help="restore the latest backup into separate containers, and compare")
    restoring = commands.add_parser("restore", help="restore a backup on this host")
    restoring.add_argument("snapshot", help="its id, or latest")
    restoring.add_argument("--time", default="", help="in its place: the newest state at or before it, or latest")
    restoring.add_argument("--postgres", default="", help="major version of Postgres that is deployed afterwards")
    restoring.add_argument("--replace", action="store_true", help="even if there is an installation")
    commands.add_parser("point", help="save the state of this moment, which belongs to the last backup")
    commands.add_parser("receive", help="receive the log of Postgres, for points")
    commands.add_parser("leave", help="remove what was received, and the replication slot")
    commands.add_parser("accept", help="remove what a restore has replaced")
    undoing = commands.add_parser("undo", help="bring back what a restore has replaced; the playbook site starts it")
    undoing.add_argument("--discard", action="store_true", help="even if the restored installation was used")
    upgrading = commands.add_parser("postgres-upgrade", help="move the database to another major version of Postgres")
    upgrading.add_argument("image", help="of that version")
    upgrading.add_argument("--check", action="store_true", help="only see whether it can be done")
    commands.add_parser("postgres-accept", help="remove the old data after an upgrade of Postgres")
    undoing = commands.add_parser(
        "postgres-undo", help="bring back the old data after an upgrade; the playbook site starts its old image"
    )
    undoing.add_argument("--discard", action="store_true", help="even if the upgraded database was used")
    commands.add_parser("objects-move", help="copy all objects into another store").add_argument(
        "--check", action="store_true", help="only see whether it can be done"
    )
    commands.add_parser("objects-accept", help="remove the old objects after a move").add_argument(
        "running", help="the store that is in use"
    )
    commands.add_parser("adopt", help="take over the data of an installation that was made by other means")
    commands.add_parser("adopt-finish", help="note that the webapp of an adopted installation runs")
    undoing = commands.add_parser("adopt-undo", help="start the old installation again")
    undoing.add_argument("--discard", action="store_true", help="even if the adopted installation was used")
    commands.add_parser("key-add", help="let a key from standard input open the repository, too")
    commands.add_parser("key-remove", help="keep a key from standard input from opening the repository")
    return parser.parse_args(words)


def say(text: str) -> None:
    print(f"{text} ...", flush=True)


def carry_out(given: argparse.Namespace) -> Any:
    """Do what was asked for, and give the result."""
    shell = Shell()
    engine = Engine(shell)
    folder = home(given.directory)
    restoring = Restore(given.directory, engine, stores_of, say)
    if given.command == "accept":
        return {"changed": restoring.accept()}
    if given.command == "undo":
        return {"changed": restoring.undo(given.discard)}
    if given.command == "resume":
        plan = plan_of(folder / PLAN)
        resume(plan, engine, stores_of(plan, engine, secrets_of(plan.secrets_file)), say)
        Trial(plan, engine, stores_of, say).clean()
        if (folder / TOLD).exists():
            Move(plan, engine, told_of(folder / TOLD), say).give_up()
        return {}
    if given.command.startswith("postgres-"):
        return upgrade(given, Upgrade(plan_of(folder / PLAN), engine, say))
    if given.command == "objects-accept":
        return {"changed": accept(folder, engine, given.running)}
    if given.command == "objects-move":
        return Move(plan_of(folder / PLAN), engine, told_of(folder / TOLD), say).run(given.check)
    if given.command.startswith("adopt"):
        plan = plan_of(folder / ADOPT_PLAN, written_by("adopt"))
        return adopt(given, Adoption(plan, engine, source_of(folder / SOURCE), say))
    if given.command == "leave":
        path = folder / PLAN
        return {"changed": leave(folder, engine, plan_of(path).stores.get("postgres") if path.exists() else None)}
    target = target_of(given.directory)
    if given.command.startswith("key-"):
        keys, key = Keys(shell, target, folder), sys.stdin.readline().strip()
        return {"changed": keys.add(key) if given.command == "key-add" else keys.remove(key)}
    repository = Repository(shell, target, folder / "cache")
    if given.command == "create":
        plan = plan_of(folder / PLAN)
        require_rotated(plan.secrets_file)
        stores = stores_of(plan, engine, secrets_of(plan.secrets_file))
        return create(plan, engine, repository, stores, say)
    if given.command == "point":
        bound(folder, say)  # before anything that fails each time
        plan = plan_of(folder / PLAN)
        require_rotated(plan.secrets_file)
        return point(plan, engine, repository, point_stores(plan, engine, secrets_of(plan.secrets_file)), say)
    repository.require()
    if given.command == "restore":
        require_finished(folder)
        known = known_identity(target, given.replace)
        wanted = given.snapshot
        if given.time:
            wanted = state_at(repository.states(), given.time, known, target.point_minutes, time.time()).id
        chosen = restoring.choose(repository, wanted, known)
        return restoring.run(repository, chosen, target.trigger_version, given.replace, given.postgres)
    if given.command == "verify":
        chosen = repository.choose("latest", known_identity(target))
        return verify(plan_of(folder / PLAN), engine, repository, chosen, stores_of, say)
    states = repository.states()
    rows = [(row.cut, listed(row, repository.manifest(row))) for row in states if not row.point]
    points = [(cut, {"text": text}) for cut, text in spans(states, target.point_minutes)]
    return [row for _, row in sorted([*rows, *points], key=lambda each: each[0])]


def adopt(given: argparse.Namespace, adoption: Adoption) -> dict[str, Any]:
    if given.command == "adopt-undo":
        return {"changed": adoption.undo(given.discard)}
    return adoption.finish() if given.command == "adopt-finish" else adoption.run()


def upgrade(given: argparse.Namespace, upgrading: Upgrade) -> dict[str, Any]:
    if given.command == "postgres-accept":
        return {"changed": upgrading.accept()}
    if given.command == "postgres-undo":
        return {"changed": upgrading.undo(given.discard)}
    return upgrading.run(given.image, given.check)


def listed(snapshot: Snapshot, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Give what people and programs want to know of a backup."""
    facts = {key: manifest[key] for key in ("name", "trigger_version", "collection_version", "cut", "left_out")}
    made = moment(manifest["cut"])
    # One of an older version of the collection does not tell it.
    size = manifest.get("bytes")
    told_size = "-" if size is None else amount(size)
    text = f"{snapshot.id[:8]}  {made}  {manifest['trigger_version']}  {told_size:>10}  {manifest['name']}"
    return {"id": snapshot.id, "text": text, "bytes": size, **facts}


def end(number: int, _frame: object) -> None:
    raise BackupError(f"The program was stopped by signal {number}. Start the same playbook or command again.")


@contextmanager
def locked(folder: Path, waits: bool) -> Iterator[None]:
    """Let one program work at a time."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waits:
                raise BackupError(
                    "Another backup or restore is under way on this host. Try again when it is over."
                ) from None
            say("Waiting for another backup or restore")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def noted(folder: Path, command: str) -> Iterator[None]:
    """Keep the error of what fails, for the playbooks."""
    try:
        yield
    except Exception as error:
        if command in FAILURES:
            note(folder, FAILURES[command], {"time": time.time(), "error": told(error)})
        raise


def main(words: Sequence[str]) -> int:
    given = arguments(words)
    folder = home(given.directory)
    for each in SIGNALS:
        signal.signal(each, end)
    os.umask(0o077)
    if given.command == "receive":
        return receiving(folder)
    try:
        with noted(folder, given.command):
            if given.command in TIMED:
                wait_for_run(target_of(given.directory).run_lock, folder, given.command, say)
            with locked(folder, given.command in WAITING):
                result = carry_out(given)
    except Exception as error:
        print(told(error), file=sys.stderr)
        return 1
    print(json.dumps(result))
    return 0


def receiving(folder: Path) -> int:
    """Become the receiver. It goes on beside backups, and so is under no lock."""
    try:
        plan = plan_of(folder / PLAN)
        engine = Engine(Shell())
        words = receive(plan, engine, Postgres(engine, plan.stores["postgres"]), say)
    except Exception as error:
        print(told(error), file=sys.stderr)
    else:
        os.execvp(words[0], words)
    return 1


def told(error: Exception) -> str:
    """Give an error that is meant for people as it is, and any other one with its kind."""
    return str(error) if isinstance(error, BackupError) else f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
