# SPDX-License-Identifier: MIT
"""Copies every object into another store. The webapp is stopped for the last difference only."""

from __future__ import annotations

import http.client
import ssl
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .aside import Aside
from .create import PAUSED
from .engine import Engine
from .halt import stopped
from .journal import COMPLETE, Journal
from .objects import Bucket, Gone, Object, fits, md5_of
from .plan import JOURNAL, Plan, read_json, written_by
from .process import BackupError, Say, remove_folder, require_room
from .sigv4 import Key

# What the role writes: from where to where.
TOLD = "object_store_move.json"
# There from the stop of the webapp on, until the old objects are removed.
STATE = "object_store_moved.json"
FOLDER = "object_store_move"
PROJECT = "trigger-object-store-move"
# As the webapp has them in its environment.
ACCESS, SECRET, REGION = "OBJECT_STORE_ACCESS_KEY_ID", "OBJECT_STORE_SECRET_ACCESS_KEY", "OBJECT_STORE_REGION"
DEFAULT_REGION = "us-east-1"
# Until nothing new comes; what comes later than that is found by the comparison.
ROUNDS = 10


@dataclass(frozen=True)
class Told:
    """The bundled store that has the objects, and the one that is to have them."""

    name: str
    container: str
    volume: str
    bucket: str
    target: str
    # Of a bundled target: its service, and how its bucket is made.
    service: str
    script: str
    # Of an external one.
    url: str
    ca: str
    target_bucket: str
    region: str
    access_key: str
    secret_key: str = field(repr=False)


class RemoteBucket(Bucket):
    """The S3 API at an address."""

    def __init__(self, url: str, ca: str, name: str, region: str, key: Key) -> None:
        parts = urlsplit(url)
        super().__init__(str(parts.hostname), name, region, key)
        if parts.scheme == "https":
            trust = ssl.create_default_context()
            trust.verify_flags &= ~ssl.VERIFY_X509_STRICT  # private CAs lack extensions, and the webapp does not care
            if ca:
                trust.load_verify_locations(cadata=ca.encode("ascii", "ignore").decode())
            self.connection = http.client.HTTPSConnection(
                str(parts.hostname), parts.port or 443, timeout=120, context=trust
            )
        else:
            self.connection = http.client.HTTPConnection(str(parts.hostname), parts.port or 80, timeout=120)
        self.host = parts.netloc


class Move(Journal):
    """A move on this host. A second call finds what is copied already."""

    def __init__(self, plan: Plan, engine: Engine, told: Told, say: Say) -> None:
        super().__init__(plan.home / STATE, say)
        self.plan = plan
        self.engine = engine
        self.told = told
        self.folder = plan.home / FOLDER
        self.aside = Aside(engine, PROJECT, plan.home / "aside_move", plan.webapp_start_seconds)
        # MD5 of what this run has copied: the tag of an object that came in parts is none.
        self.copied: dict[str, str] = {}

    # -- the two stores ----------------------------------------------------------------------------------------------

    def source(self) -> Bucket:
        """Give the store that has the objects, with the key that the webapp has: another one may be on its way."""
        found = self.engine.inspect(self.plan.webapp_container)
        if not found:
            raise BackupError(f"There is no container {self.plan.webapp_container}. Deploy it first (playbook site).")
        environment = dict(line.partition("=")[::2] for line in found["Config"]["Env"])
        key = Key(environment.get(ACCESS, ""), environment.get(SECRET, ""))
        if not self.engine.running(self.told.container):  # an interrupted move has stopped it
            self.engine.start(self.told.container)
            self.engine.wait(self.told.container, self.plan.webapp_start_seconds)
        address = self.engine.address(self.told.container)
        return Bucket(address, self.told.bucket, environment.get(REGION) or DEFAULT_REGION, key)

    def target(self) -> Bucket:
        """Give the store that is to have them. A bundled one is started on its own."""
        key = Key(self.told.access_key, self.told.secret_key)
        region = self.told.region or DEFAULT_REGION
        if self.told.url:
            return RemoteBucket(self.told.url, self.told.ca, self.told.target_bucket, region, key)
        self.say(f"Starting {self.told.target} on its own")
        service = self.told.service
        self.aside.up(self.folder, [service], (self.plan.webapp_directory, self.folder))
        container = f"{self.aside.name}-{service}-1"
        words = ["sh", "-euc", self.told.script, "sh", self.told.target_bucket]
        self.engine.ask(container, *words, doing="Creating the bucket")
        return Bucket(self.engine.address(container), self.told.target_bucket, region, key)

    # -- the move ----------------------------------------------------------------------------------------------------

    def run(self, check: bool) -> dict[str, Any]:
        if check:
            return {"changed": True}
        source = self.source()
        try:
            with closing(source.connection):
                size = sum(each.size for each in source.objects())
                if not self.told.url:
                    require_room([(self.engine.root(), size)], f"a second copy in {self.told.target}")
                target = self.target()
                with closing(target.connection):
                    return self.carry_out(source, target)
        finally:
            self.aside.down()

    def carry_out(self, source: Bucket, target: Bucket) -> dict[str, Any]:
        self.say("Copying while the webapp runs")
        copies = self.copy(source, target)
        with stopped(self.plan, self.engine, self.say):
            return self.finish(source, target, copies)

    def finish(self, source: Bucket, target: Bucket, copies: int) -> dict[str, Any]:
        """Copy what has come meanwhile, see that all is there, and leave the webapp stopped until it is deployed."""
        state = {"volume": self.told.volume, "from": self.told.name, "to": self.told.target, "done": []}
        self.keep(**state)
        try:
            self.say("Copying what has come meanwhile")
            # Tasks have addresses to which they may put objects for some minutes more.
            for _ in range(ROUNDS):
                last = self.copy(source, target)
                copies += last
                if not last:
                    break
            self.say("Comparing")
            objects = self.compare(source, target)
            self.engine.stop(self.told.container)
        except BaseException:
            self.forget()
            raise
        self.keep(done=[COMPLETE])
        (self.plan.home / PAUSED).unlink(missing_ok=True)  # the webapp must not be started before it is deployed
        size = sum(each.size for each in objects)
        return {"changed": True, "copies": copies, "objects": len(objects), "bytes": size}

    def copy(self, source: Bucket, target: Bucket) -> int:
        """Copy what is missing or differs; gives the number."""
        there = {each.name: each for each in target.objects()}
        left = [each for each in list(source.objects()) if not self.same(each, there.get(each.name))]
        file = self.plan.home / "object_store_move.part"
        gone: list[str] = []
        for each in left:
            try:
                kind = source.get(each.name, file)
            except Gone:
                gone.append(each.name)
                continue
            digest = md5_of(file)
            if not fits(each, file.stat().st_size, digest):
                raise BackupError(f"The object {each.name} was not read whole. Start the playbook again.")
            target.put(each.name, file.read_bytes(), kind)
            self.copied[each.name] = digest
        file.unlink(missing_ok=True)
        source.require_gone(gone)
        return len(left) - len(gone)

    def same(self, wanted: Object, found: Object | None) -> bool:
        """Tell by size and tag. An encrypting store has tags of its own: what this run has put there is right."""
        if found is None or found.size != wanted.size:
            return False
        return found.tag == wanted.tag or wanted.name in self.copied

    def compare(self, source: Bucket, target: Bucket) -> list[Object]:
        """See that every object is there, byte for byte. What the tags do not tell is read once more."""
        there = {each.name: each for each in target.objects()}
        objects = list(source.objects())
        wrong = [each.name for each in objects if not self.equal(target, each, there.get(each.name))]
        if wrong:
            raise BackupError(
                f"{len(wrong)} objects of {self.told.target} are missing or differ: {', '.join(wrong[:5])}. The old "
                "store stays in use. Start the playbook again."
            )
        return objects

    def equal(self, target: Bucket, wanted: Object, found: Object | None) -> bool:
        if found is None or found.size != wanted.size:
            return False
        digest = self.copied.get(wanted.name, wanted.tag)
        if found.tag == digest or found.tag == wanted.tag:
            return True
        file = self.plan.home / "object_store_move.part"
        target.get(wanted.name, file)
        try:
            return md5_of(file) == digest
        finally:
            file.unlink()

    def give_up(self) -> None:
        """Forget a move that was killed; the webapp goes on with what it had."""
        if self.state and COMPLETE not in self.state["done"]:
            self.engine.start(self.told.container)
            self.forget()


def told_of(path: Path) -> Told:
    return Told(**read_json(path, written_by("object_store_move")))


def accept(home: Path, engine: Engine, running: str) -> bool:
    """Remove the old objects, when another store is in use. Tells whether there was anything to do."""
    path = home / STATE
    if not path.exists():
        return False
    state = read_json(path, JOURNAL)
    if COMPLETE not in state["done"] or state["to"] != running:
        raise BackupError("The move of objects is not complete: start the playbook object_store_move again.")
    engine.remove_volume(state["volume"])
    remove_folder(home / FOLDER)
    for name in (TOLD, STATE):
        (home / name).unlink(missing_ok=True)
    return True
