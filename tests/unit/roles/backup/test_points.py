# SPDX-License-Identifier: MIT
"""Points between two backups: what they consist of, when the database is copied anew, and which one is chosen."""

from __future__ import annotations

import io
import json
import math
import os
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import Environment
from trigger_backup import create, points, process, receive
from trigger_backup.__main__ import point_stores
from trigger_backup.create import PAUSED, found_points, results
from trigger_backup.engine import Engine
from trigger_backup.objects import Objects
from trigger_backup.plan import Plan, plan_of
from trigger_backup.points import PostgresPoint, point, spans, state_at, written
from trigger_backup.postgres import Postgres
from trigger_backup.process import BackupError, Session, Shell
from trigger_backup.receive import command, leave, position, prepare
from trigger_backup.recovery import await_end, data_folder, put_log, recover
from trigger_backup.repository import POINT, Repository, Snapshot, seconds_of, snapshot_of, unwanted, usable
from trigger_backup.restore import told, whole
from trigger_backup.stores import Facts, Store
from trigger_backup.verify import paths_of, verify
from trigger_backup.wal import Base, Log, Position, base_of, needed, number_of, segment_name

from testbed.common import ROOT

MIB = 2**20
SEGMENT = 16 * MIB
NOW = 1_764_383_400.0
MINUTE, DAY = 60.0, 86_400.0
OURS = "a" * 16
POSTGRES = {"container": "pg", "user": "postgres", "database": "main", "slots": ["runs"], "volume": "data"}


def archive(path: Path, start: str = "0/6000028", timeline: int = 1, first: str = "backup_label") -> None:
    """Write what pg_basebackup writes, as far as it is looked at."""
    path.parent.mkdir(parents=True, exist_ok=True)
    label = f"START WAL LOCATION: {start} (file x)\nCHECKPOINT LOCATION: 0/7\nSTART TIMELINE: {timeline}\n".encode()
    with tarfile.open(path, "w") as tar:
        for name, content in ((first, label), ("PG_VERSION", b"17\n"), ("postgresql.auto.conf", b"# own\n")):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


class Server(Engine, Shell):
    """One server of Postgres: answers what is asked, and keeps it."""

    def __init__(self, root: Path, home: Path) -> None:
        self.shell = self
        self.root_folder, self.home = root, home
        self.slot: str | None = None
        self.lsn, self.timeline, self.received = "0/7000090", 1, "0/7000090"
        self.up = True
        self.asked: list[str] = []

    def running(self, container: str) -> bool:
        return self.up

    def inspect(self, container: str) -> dict[str, Any] | None:
        mounts = [{"Destination": "/var/lib/postgresql/data", "Source": str(self.root_folder)}]
        config = {"Env": ["PGDATA=/var/lib/postgresql/data"]}
        return {"State": {"Running": self.up}, "Config": config, "Mounts": mounts, "Image": "sha256:1"}

    def volume(self, name: str) -> Path | None:
        return self.root_folder

    def image(self, container: str) -> str:
        return ""

    def root(self) -> Path:
        return self.root_folder

    def run(self, words: Sequence[str], **options: Any) -> Any:
        return super().run(["true"])

    def output(self, words: Sequence[str], *, data: bytes | None = None, doing: str = "") -> str:
        text = data.decode() if data else " ".join(words)
        self.asked.append(text.strip())
        if text == receive.POSITION:
            return f"{self.timeline}|{self.lsn}|{SEGMENT}\n"
        if text == receive.STATE:
            return "" if self.slot is None else f"{self.slot}\n"
        if text == points.RECEIVED:
            return f"{self.received}\n" if self.received else ""
        if "pg_create_physical" in text:
            self.slot = "reserved"
        if text == receive.DROP:
            self.slot = None
        return "100\n" if "pg_database_size" in text else "17.6\n"

    def into_file(self, words: Sequence[str], path: Path, *, doing: str) -> None:
        self.asked.append("pg_basebackup")
        archive(path, self.lsn, self.timeline)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "backup"
    path.mkdir()
    return path


@pytest.fixture
def plan(home: Path) -> Plan:
    (home.parent / "secrets.json").write_text(json.dumps({"encryption_key": "e" * 32}))
    content = {
        "name": "https://trigger.example.com", "collection_version": "0.1.0", "trigger_version": "v4.2.0",
        "directory": str(home.parent), "secrets_file": str(home.parent / "secrets.json"),
        "webapp_container": "webapp", "webapp_start_seconds": 5, "pause": True,
        "stores": {"postgres": POSTGRES, "clickhouse": {"container": "c", "user": "u", "volume": "ch", "config": "/x"}},
        "left_out": {}, "keep": {"daily": 7}, "check_percent": 10, "points": True, "point_keep_days": 7,
    }  # fmt: skip
    (home / "plan.json").write_text(json.dumps(content))
    return plan_of(home / "plan.json")


@pytest.fixture
def server(tmp_path: Path, home: Path) -> Server:
    data = tmp_path / "data"
    data.mkdir()
    return Server(data, home)


def segment(log: Log, number: int, *, partial: bool = False, timeline: int = 1) -> str:
    log.received.mkdir(exist_ok=True)
    name = segment_name(timeline, number, SEGMENT)
    (log.received / (name + ".partial" * partial)).write_text(f"{number}{partial}")
    return name


def store_of(server: Server, plan: Plan) -> PostgresPoint:
    return PostgresPoint(server, POSTGRES, plan, lambda _: None)


# -- the log -----------------------------------------------------------------------------------------------------------


def test_files_of_the_log_have_the_names_of_postgres() -> None:
    assert number_of("1/D8000000") == 0x1D8000000
    assert segment_name(1, number_of("1/D8000000") // SEGMENT, SEGMENT) == "0000000100000001000000D8"
    base = Base(2, number_of("0/FE000028"), 1, 0.0)
    names = ["0000000200000000000000FE", "0000000200000000000000FF", "000000020000000100000000"]
    assert needed(base, Position(2, number_of("1/10"), SEGMENT)) == names
    assert needed(base, Position(2, number_of("1/0"), SEGMENT)) == names[:2]  # the next file is empty yet


def test_a_copy_is_known_by_its_label(tmp_path: Path) -> None:
    assert base_of(tmp_path / "base.tar") is None
    archive(tmp_path / "base.tar", "1/2000028", 3)
    found = base_of(tmp_path / "base.tar")
    assert found
    assert (found.start, found.timeline) == (0x102000028, 3)
    archive(tmp_path / "base.tar", first="other")
    assert base_of(tmp_path / "base.tar") is None
    (tmp_path / "base.tar").write_bytes(b"x")
    assert base_of(tmp_path / "base.tar") is None


def test_complete_files_are_linked_and_the_last_one_is_copied(home: Path) -> None:
    log = Log(home)
    names = [segment(log, 6), segment(log, 7, partial=True)]
    (log.received / "00000002.history").write_text("h")
    assert log.missing(names) == []
    log.gather(names)
    assert (log.folder / names[0]).samefile(log.received / names[0])
    assert {path.name for path in log.folder.iterdir()} == {names[0], f"{names[1]}.partial", "00000002.history"}
    # The next point: it is complete, and another one has begun.
    (log.received / f"{names[1]}.partial").rename(log.received / names[1])
    names.append(segment(log, 8, partial=True))
    log.gather(names)
    assert {path.name for path in log.folder.iterdir()} == {*names[:2], f"{names[2]}.partial", "00000002.history"}


def test_only_the_last_file_may_be_incomplete(home: Path) -> None:
    log = Log(home)
    names = [segment(log, 6, partial=True), segment(log, 7), segment_name(1, 8, SEGMENT)]
    assert log.missing(names) == [names[0], names[2]]


def test_a_new_copy_ends_the_need_for_older_files(home: Path) -> None:
    log = Log(home)
    names = [segment(log, number) for number in (5, 6, 7)]
    log.gather(names)
    archive(log.fresh, "0/7000028")
    log.replace_base(SEGMENT)
    assert sorted(path.name for path in log.folder.iterdir()) == [names[2], "base.tar"]
    assert [path.name for path in log.received.iterdir()] == [names[2]]


# -- the receiver ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slot", [None, "lost"])
def test_a_slot_that_is_not_there_ends_what_was_received(server: Server, home: Path, slot: str | None) -> None:
    """A restored server has no slot; a file of the log of another one must never be taken for its own."""
    log = Log(home)
    log.gather([segment(log, 6)])
    archive(log.base)
    server.slot = slot
    prepare(Postgres(server, POSTGRES), log, lambda _: None)
    assert server.slot == "reserved"
    assert [*home.iterdir()] == []


def test_a_slot_that_is_there_is_used(server: Server, home: Path) -> None:
    log = Log(home)
    segment(log, 6)
    server.slot = "extended"
    prepare(Postgres(server, POSTGRES), log, lambda _: None)
    assert (server.slot, len([*log.received.iterdir()])) == ("extended", 1)


def test_a_server_of_an_earlier_time_begins_anew(server: Server, home: Path) -> None:
    """Somebody has brought back an old state of the volume; the slot is of that time, too."""
    log = Log(home)
    segment(log, 9)
    server.slot = "extended"
    prepare(Postgres(server, POSTGRES), log, lambda _: None)
    assert not log.received.exists()


def test_the_receiver_needs_no_password_and_no_rights(server: Server, plan: Plan) -> None:
    words = receive.receive(plan, server, Postgres(server, POSTGRES), lambda _: None)
    owner = server.root_folder.stat()
    assert words[words.index("--user") + 1] == f"{owner.st_uid}:{owner.st_gid}"
    assert words[words.index("--network") + 1] == "container:pg"
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--cap-drop") + 1] == "ALL"
    assert {"--no-password", "--no-loop", "--read-only"} <= set(words)
    assert (plan.home / "received").stat().st_uid == owner.st_uid


def test_the_receiver_waits_for_its_server(server: Server, home: Path) -> None:
    server.up = False
    with pytest.raises(BackupError, match="pg does not run"):
        command(server, "pg", "postgres", home)


def test_what_is_switched_off_leaves_no_slot(server: Server, plan: Plan) -> None:
    log = Log(plan.home)
    log.gather([segment(log, 6)])
    server.slot = "extended"
    assert leave(plan.home, server, POSTGRES)
    assert server.slot is None
    assert not log.received.exists()
    assert not log.folder.exists()
    assert not leave(plan.home, server, None)  # Postgres is external now
    segment(log, 6)
    server.up = False
    with pytest.raises(BackupError, match="slot stays"):
        leave(plan.home, server, POSTGRES)
    assert log.received.exists()  # the next run tries again


# -- the copy of the database ------------------------------------------------------------------------------------------


def test_a_copy_is_made_when_there_is_none(server: Server, plan: Plan) -> None:
    store = store_of(server, plan)
    assert store.reason() == "there is none yet"
    assert store.size() == 100


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("nothing", ""),
        ("gap", "has a gap"),
        ("timeline", "another history"),
        ("behind", "another history"),
        ("backup", "a newer backup"),
        ("grown", "the log has grown"),
    ],
)
def test_a_copy_is_renewed(
    server: Server, plan: Plan, monkeypatch: pytest.MonkeyPatch, change: str, words: str
) -> None:
    log = Log(plan.home)
    names = [segment(log, 6), segment(log, 7, partial=True)]
    log.gather(names)
    archive(log.base)
    if change == "gap":
        server.received = server.lsn = "0/9000000"
    if change == "timeline":
        server.timeline = 2
    if change == "behind":
        server.lsn = "0/5000000"
    if change == "backup":
        found_points(plan.home, "/r", "f1")
        os.utime(log.base, (1, 1))
    if change == "grown":
        monkeypatch.setattr(points, "LOG_BYTES", 0)
        (log.folder / names[0]).write_bytes(b"x" * 2**16)
    store = store_of(server, plan)
    assert words in store.reason()
    assert bool(store.reason()) == bool(words)


@pytest.mark.parametrize("fault", ["error", "kill"])
def test_a_part_of_a_copy_is_removed(server: Server, plan: Plan, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    """It would take the room of the next copy, and the check of the space would refuse that."""

    def full(words: Sequence[str], path: Path, *, doing: str) -> None:
        path.write_text("a part")
        raise OSError(28, "No space left on device")

    store = store_of(server, plan)
    if fault == "kill":  # nothing ran afterwards but what starts the webapp
        store.log.fresh.write_text("a part")
        create.resume(plan, server, [], lambda _: None)
    else:
        monkeypatch.setattr(server, "into_file", full)
        with pytest.raises(OSError, match="No space left"):
            store.prepare()
    assert not store.log.fresh.exists()


def test_the_receiver_has_to_run_before_a_copy_begins(
    server: Server, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(points, "RECEIVE_SECONDS", 0.0)
    server.received = ""
    with pytest.raises(BackupError, match="journalctl -u trigger-backup-receive"):
        store_of(server, plan).prepare()
    assert "pg_basebackup" not in server.asked


class FakeSession(Session):
    def __init__(self, server: Server) -> None:
        self.server = server

    def ask(self, text: str, seconds: float = 0.0, until: float = math.inf) -> list[str]:
        self.server.asked.append(text)
        return [self.server.lsn, "0/7000100"] if "restore_point" in text else ["1"]

    def close(self) -> None:
        """Nothing runs."""


def marked(server: Server, plan: Plan) -> PostgresPoint:
    """Give a store that has made its copy and its mark."""
    store = store_of(server, plan)
    store._copy_database()
    store.session = FakeSession(server)
    store.snapshot()
    return store


def test_a_point_has_the_copy_and_the_log_up_to_its_mark(server: Server, plan: Plan) -> None:
    log = Log(plan.home)
    segment(log, 7, partial=True)
    store = marked(server, plan)
    facts = store.copy(plan.home)
    assert facts["mark"].startswith("trigger_")
    assert (facts["lsn"], facts["paths"]) == ("0/7000090", {"log": str(log.folder)})
    assert sorted(path.name for path in log.folder.iterdir()) == [
        "000000010000000000000007.partial",
        "base.tar",
    ]


def test_a_database_that_was_replaced_meanwhile_gives_no_point(server: Server, plan: Plan) -> None:
    segment(Log(plan.home), 7, partial=True)
    store = marked(server, plan)
    server.timeline = 2
    with pytest.raises(BackupError, match="was replaced while the point was made"):
        store.copy(plan.home)


# -- the command -------------------------------------------------------------------------------------------------------


class FakeRepository(Repository):
    def __init__(self) -> None:
        self.name = "/r"
        self.calls: list[str] = []
        self.excluded: list[str] = []
        self.saved: dict[str, Any] = {}

    def free_stale_locks(self) -> None:
        self.calls.append("unlock")

    def save(
        self, paths: Any, installation: str, cut: float, backup: str = "", excluded: Any = (), key: str = ""
    ) -> dict[str, Any]:
        self.calls.append(f"save of {backup}")
        self.excluded = [*excluded]
        self.saved = json.loads((Path(next(iter(paths))) / "manifest.json").read_text())
        return {"snapshot_id": "b" * 64, "total_bytes_processed": 10, "data_added": 1}


class FakeStore(Store):
    name = "postgres"

    def __init__(self, fails: bool = False) -> None:
        self.fails = fails

    def copy(self, stage: Path) -> Facts:
        if self.fails:
            raise BackupError("it broke")
        return {"mark": "m", "exact": False}


def make(plan: Plan, server: Server, repository: FakeRepository, store: Store) -> dict[str, Any]:
    return point(plan, server, repository, [store], lambda _: None)


def test_a_point_stops_nothing_and_names_what_it_lacks(plan: Plan, server: Server) -> None:
    found_points(plan.home, "/r", "f1")
    repository = FakeRepository()
    result = make(plan, server, repository, FakeStore())
    assert repository.calls == ["save of f1"]
    assert repository.saved["of_backup"] == ["clickhouse"]
    assert not repository.saved["paused"]
    assert repository.excluded == [str(plan.stage / "postgres")]
    assert not any("stop" in call for call in server.asked)
    assert results(plan.home)["point"] == result
    assert {"time", "snapshot", "seconds", "bytes", "bytes_added", "repository"} <= set(result)
    assert "point_failed" not in results(plan.home)


@pytest.mark.parametrize("wanted", ["point", "verify"])
def test_a_point_and_a_test_start_a_webapp_that_was_left_stopped(
    plan: Plan, server: Server, wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may wait for a backup that is killed, and are under way before that can start the webapp itself."""
    calls: list[str] = []

    class Held(FakeStore):
        def prepare(self) -> None:
            raise BackupError("it broke")

        def release(self) -> None:
            calls.append("release")

    class Broken(FakeRepository):
        def check(self, percent: int) -> None:
            raise BackupError("it broke")

    monkeypatch.setattr(create, "start", lambda *_: calls.append("start"))
    (plan.home / PAUSED).touch()
    found_points(plan.home, "/r", "f1")
    backup = Snapshot("f1", "", "", ())
    actions: dict[str, Callable[[], Any]] = {
        "point": lambda: make(plan, server, Broken(), Held()),
        "verify": lambda: verify(plan, server, Broken(), backup, lambda *_: [Held()], lambda _: None),
    }
    with pytest.raises(BackupError, match="it broke"):
        actions[wanted]()
    assert calls[:2] == ["start", "release"]
    assert not (plan.home / PAUSED).exists()


@pytest.mark.parametrize("name", ["trigger-backup", "trigger-backup-verify"])
def test_the_start_of_the_webapp_after_a_kill_has_no_limit_of_systemd(name: str) -> None:
    """Its own would end the start of a slow webapp after 90 s."""
    role = ROOT / "roles/backup"
    unit = yaml.safe_load((role / "vars/main/main.yml").read_text())["__backup_timers"][name]
    template = Environment().from_string((role / "templates/unit.service.j2").read_text())
    lines = template.render(unit=unit, __backup_command="run").splitlines()
    assert {"TimeoutStartSec=infinity", "TimeoutStopSec=infinity", "ExecStopPost=run resume"} <= {*lines}


def test_before_the_first_backup_there_is_no_point(plan: Plan, server: Server) -> None:
    """Nothing grows meanwhile, either."""
    log = Log(plan.home)
    names = [segment(log, 5), segment(log, 6), segment(log, 7, partial=True)]
    for elsewhere in (False, True):
        if elsewhere:
            found_points(plan.home, "/another", "f1")
        repository = FakeRepository()
        assert "skipped" in make(plan, server, repository, FakeStore())
        assert repository.calls == []
    assert sorted(path.name for path in log.received.iterdir()) == [names[1], f"{names[2]}.partial"]


@pytest.mark.parametrize("copied", [False, True])
def test_the_log_is_bounded_while_points_fail(
    plan: Plan, server: Server, monkeypatch: pytest.MonkeyPatch, copied: bool
) -> None:
    """The receiver goes on, and would fill the disk of the server."""
    monkeypatch.setattr(points, "LOG_BYTES", 6)
    found_points(plan.home, "/r", "f1")
    log = Log(plan.home)
    if copied:
        archive(log.base)
    limit = log.base.stat().st_size if copied else points.LOG_BYTES
    told = list[str]()
    for number in range(20, 26):
        (log.received / segment(log, number)).write_bytes(b"x" * (2 * limit // 3))
        points.bound(plan.home, told.append)  # as the program does first
        with pytest.raises(BackupError, match="it broke"):
            point(plan, server, FakeRepository(), [FakeStore(fails=True)], told.append)
        assert log.size() <= 2 * limit
    assert any("has grown while points failed" in text for text in told)
    assert log.base.exists() is copied


def test_a_repository_that_does_not_answer_keeps_no_copy_from_being_renewed(plan: Plan, server: Server) -> None:
    class Unreachable(FakeRepository):
        def free_stale_locks(self) -> None:
            raise BackupError("the repository is away")

    found_points(plan.home, "/r", "f1")
    segment(Log(plan.home), 7, partial=True)
    prepared = list[int]()

    class Counted(FakeStore):
        def prepare(self) -> None:
            prepared.append(1)

    create.note(plan.home, points.FAILED, {"time": 1, "error": "before"})
    with pytest.raises(BackupError, match="repository is away"):
        make(plan, server, Unreachable(), Counted())
    assert prepared


def test_a_point_after_a_failure_removes_stale_locks(plan: Plan, server: Server) -> None:
    found_points(plan.home, "/r", "f1")
    repository = FakeRepository()
    with pytest.raises(BackupError, match="it broke"):
        make(plan, server, repository, FakeStore(fails=True))
    assert results(plan.home)["point_failed"]["error"] == ""
    make(plan, server, repository, FakeStore())
    assert repository.calls == ["unlock", "save of f1"]


def test_a_point_has_no_clickhouse_and_reads_known_objects_no_more(plan: Plan, server: Server) -> None:
    row = {"container": "o", "bucket": "b", "region": "r", "script": "s"}
    whole_plan = Plan(**{**plan.__dict__, "stores": {**plan.stores, "objects": row}})
    secrets = {"clickhouse_password": "", "object_store_access_key": "", "object_store_secret_key": ""}
    stores = {store.name: store for store in point_stores(whole_plan, server, secrets)}
    assert sorted(stores) == ["files", "objects", "postgres"]
    assert isinstance(stores["postgres"], PostgresPoint)
    assert isinstance(stores["objects"], Objects)
    assert stores["objects"].trusting


# -- the state of a time -----------------------------------------------------------------------------------------------


def state(minutes: float, *, is_point: bool = True, installation: str = OURS) -> Snapshot:
    cut = NOW - minutes * MINUTE
    return Snapshot(
        f"{int(minutes):08d}{0:056d}", "", installation, (), cut, f"{120:08d}" if is_point else "", is_point
    )


# A backup an hour ago, points since, and an hour without any in between.
STATES = [state(120, is_point=False), state(115), state(110), state(50), state(45), state(5)]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("latest", 5),
        (written(NOW - 46 * MINUTE), 50),
        (written(NOW - 45 * MINUTE), 45),
        (written(NOW - 119 * MINUTE), 120),
        (written(NOW - 100 * MINUTE), 110),
    ],
)
def test_the_newest_state_at_or_before_a_time_is_chosen(text: str, minutes: int) -> None:
    assert state_at(STATES, text, OURS, 5, NOW) == state(minutes, is_point=minutes != 120)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (written(NOW + 3600), "in the future"),
        (written(NOW - 121 * MINUTE), f"before .*The first state is of {written(NOW - 120 * MINUTE)}"),
        (
            written(NOW - 60 * MINUTE),
            f"set backup_restore_time to that.* next state is of {written(NOW - 50 * MINUTE)}",
        ),
        ("2026-02-30T10:00:00Z", "Write it as 2026-01-31T12:00:00Z"),
        ("yesterday", "Write it as 2026-01-31T12:00:00Z"),
    ],
)
def test_a_time_that_cannot_be_meant_is_refused(text: str, words: str) -> None:
    with pytest.raises(BackupError, match=words):
        state_at(STATES, text, OURS, 5, NOW)


def test_the_time_that_a_refusal_names_works() -> None:
    odd = [Snapshot("x", "", OURS, (), NOW - 3000.25)]
    with pytest.raises(BackupError) as caught:
        state_at(odd, written(NOW - 60), OURS, 5, NOW)
    named = str(caught.value).split("between ")[1].split(" and")[0]
    assert state_at(odd, named, OURS, 5, NOW) == odd[0]


def test_points_whose_backup_is_gone_cannot_be_restored() -> None:
    rows = STATES[1:]
    assert usable(STATES) == STATES
    assert usable(rows) == []
    with pytest.raises(BackupError, match="Nothing of this installation was saved"):
        state_at(rows, "latest", OURS, 5, NOW)


def test_what_is_too_old_goes_unless_it_is_needed() -> None:
    backup, *rows = STATES
    old = {backup.id}
    assert unwanted(STATES, old, 7) == []
    assert unwanted(STATES, old, 0) == [row.id for row in rows[:-1]]  # the newest one needs the backup
    assert unwanted([backup], old, 7) == [backup.id]
    assert unwanted(rows, set(), 7) == [row.id for row in rows]


def test_several_installations_are_not_mixed() -> None:
    mixed = [state(9, is_point=False, installation="b" * 16), *STATES]
    assert state_at(sorted(mixed, key=lambda row: row.cut), "latest", OURS, 5, NOW).installation == OURS
    with pytest.raises(BackupError, match="several installations"):
        state_at(sorted(mixed, key=lambda row: row.cut), "latest", None, 5, NOW)


def test_spans_of_points_end_where_there_is_a_gap() -> None:
    found = [text for _, text in spans(STATES, 5)]
    assert [text.split(": ")[-1] for text in found] == ["2 (backup_restore_time)"] * 2 + ["1 (backup_restore_time)"]
    assert spans([], 5) == []


def test_states_are_read_from_restic() -> None:
    row = {"id": "i", "time": "2025-11-29T02:30:00.123456789Z", "paths": ["/x"], "tags": ["trigger", "installation=a"]}
    old = snapshot_of(row)
    assert (old.installation, old.point) == ("a", False)
    assert old.cut == pytest.approx(NOW + 0.123456)
    new = snapshot_of({**row, "tags": [POINT, "installation=a", "cut=5.25"]})
    assert (new.cut, new.point) == (5.25, True)
    assert seconds_of("2025-11-29T03:30:00+01:00") == NOW
    assert seconds_of("?") == 0.0


def test_the_time_to_restore_may_have_a_fraction() -> None:
    assert points.seconds_of("2025-11-29T02:30:00.5Z") == NOW + 0.5
    assert points.seconds_of("2025-11-29T03:30:00.123456789+01:00") == pytest.approx(NOW + 0.123456789)
    assert points.seconds_of("2025-11-29T02:30Z") == NOW
    with pytest.raises(BackupError, match="Write it as"):
        points.seconds_of("2025-11-29T02:30.5Z")


# -- the restore -------------------------------------------------------------------------------------------------------


class Known(Repository):
    """A backup, and a point of it."""

    def __init__(self, stores: Mapping[str, Any]) -> None:
        self.name = "/r"
        self.stores = stores
        # The second backup is of a history that a restore has ended: the point does not belong to it.
        self.rows = [state(120, is_point=False), state(60, is_point=False), state(55)]

    def states(self, *tags: str) -> list[Snapshot]:
        return self.rows

    def manifest(self, snapshot: Snapshot) -> dict[str, Any]:
        if snapshot.point:
            return {"cut": snapshot.cut, "stores": {"postgres": {"mark": "m"}}, "of_backup": ["clickhouse"]}
        return {"cut": snapshot.cut, "stores": self.stores}


def test_a_point_is_completed_by_the_backup_before_it() -> None:
    repository = Known({"clickhouse": {"cut": "2025-11-29 01:30:00", "paths": {}}})
    manifest, backup = whole(repository, repository.rows[2])
    assert backup == repository.rows[0]
    assert manifest["stores"]["postgres"]["analytics_cut"] == "2025-11-29 01:30:00"
    assert "clickhouse" in manifest["stores"]
    text = told(repository.rows[2], backup, manifest)
    assert "Of 2025-11-29 01:35 UTC: postgres. Of 2025-11-29 00:30 UTC" in text
    assert whole(repository, repository.rows[0])[1] is None


def test_a_point_whose_backup_is_gone_or_lacks_a_store_is_refused() -> None:
    with pytest.raises(BackupError, match=r"which lacks it .backup_include"):
        whole(Known({}), state(55))
    repository = Known({})
    repository.rows = repository.rows[1:]
    with pytest.raises(BackupError, match=r"is gone\. Choose another time"):
        whole(repository, state(55))


def test_postgres_knows_whether_clickhouse_is_restored_with_it() -> None:
    """Otherwise ClickHouse has what came after the backup, and may take no change of older runs."""
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"postgres": {}, "clickhouse": {}}, False),
        ({"postgres": {}}, True),
    ]
    for stores, alone in cases:
        repository = Known(stores)
        manifest, _ = whole(repository, repository.rows[0])
        assert manifest["stores"]["postgres"].get("alone", False) is alone


def test_a_test_of_a_point_fetches_no_more_than_it_restores() -> None:
    snapshot = Snapshot("i", "", OURS, ("/o/backup/stage", "/o/backup/log"))
    facts = {"postgres": {"paths": {"log": "/o/backup/log"}}, "redis": {}}
    assert paths_of(snapshot, facts) == [
        "/o/backup/log",
        *(f"/o/backup/stage/{name}" for name in ("plan.json", "files", "postgres", "redis")),
    ]


class Recovering:
    container = "pg"

    def __init__(self, server: Server, dies: bool = False) -> None:
        self.server, self.dies = server, dies
        self.settings = ""

    def volume(self, name: str) -> Path:
        return self.server.root_folder

    def stop(self) -> None:
        (self.server.root_folder / "PG_VERSION").unlink()

    def start(self) -> None:
        self.settings = (self.server.root_folder / "postgresql.auto.conf").read_text()
        assert (self.server.root_folder / "recovery.signal").exists()
        assert (self.server.root_folder / "trigger_log/000000010000000000000007").read_text() == "7"
        self.server.up = not self.dies


def sources(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    archive(source / "base.tar")
    (source / "000000010000000000000007.partial").write_text("7")
    return source


def test_a_server_is_recovered_up_to_the_mark(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "output", lambda words, **_: Shell().output(words))
    data = server.root_folder
    (data / "PG_VERSION").write_text("17")
    (data / "of_the_new_server").touch()
    service = Recovering(server)
    answers = iter([[["t"]], [["f"]], []])
    monkeypatch.setattr(time, "sleep", lambda _: None)
    recover(server, service, lambda _: next(answers), sources(tmp_path), "trigger_1")
    assert "recovery_target_name = 'trigger_1'" in service.settings
    assert "restore_command = 'cp trigger_log/%f %p'" in service.settings
    assert (data / "postgresql.auto.conf").read_text() == "# own\n"  # nothing of it stays
    assert not (data / "trigger_log").exists()
    assert not (data / "of_the_new_server").exists()
    assert (data / "recovery.signal").exists()  # the server itself removes it


def test_a_log_that_ends_too_early_is_told(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "output", lambda words, **_: Shell().output(words))
    (server.root_folder / "PG_VERSION").write_text("17")
    with pytest.raises(BackupError, match=r"has ended while it read its log\. Its log ends:"):
        recover(server, Recovering(server, dies=True), lambda _: [["t"]], sources(tmp_path), "trigger_1")


def test_a_server_in_recovery_is_waited_for(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    await_end(server, "pg", lambda _: [["f"]])
    server.up = False
    with pytest.raises(BackupError, match="has ended"):
        await_end(server, "pg", lambda _: [["t"]])
    server.up = True
    monkeypatch.setattr(process, "LONG_SECONDS", 0.0)
    with pytest.raises(BackupError, match="still reads its log"):
        await_end(server, "pg", lambda _: [["t"]])


def test_the_data_of_a_container_is_found() -> None:
    found = {
        "Config": {"Env": ["PGDATA=/var/lib/postgresql/18/docker"]},
        "Mounts": [{"Destination": "/tmp", "Source": "/t"}, {"Destination": "/var/lib/postgresql", "Source": "/v"}],
    }
    assert data_folder(found) == Path("/v/18/docker")
    with pytest.raises(BackupError, match="is in no volume"):
        data_folder({"Config": {"Env": []}, "Mounts": []})


def test_an_incomplete_file_is_named_as_a_complete_one(tmp_path: Path) -> None:
    source = sources(tmp_path)
    (source / "00000002.history").write_text("h")
    put_log(source, tmp_path / "log")
    names = sorted(path.name for path in (tmp_path / "log").iterdir())
    assert names == ["000000010000000000000007", "00000002.history"]


# -- clients that stay connected ---------------------------------------------------------------------------------------


def test_a_session_answers_line_by_line_and_says_why_it_ended() -> None:
    shell = ["sh", "-c", 'while read -r verb text; do [ "$verb" = echo ] && echo "$text" || exit 3; done']
    session = Session(shell, "echo", "Redis")
    assert session.ask("echo a\necho b") == ["a", "b"]
    with pytest.raises(BackupError, match="Redis does not answer: it ended"):
        session.ask("fail")
    session.close()


@pytest.mark.parametrize("shown", ["", "echo part;", "printf part;"])
def test_a_session_that_hangs_is_ended(shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its child holds the output, as a program in a container may."""
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.3)
    session = Session(["sh", "-c", f"{shown} sleep 30 & wait; exit"], "echo", "Redis")
    began = time.monotonic()
    with pytest.raises(BackupError, match="Redis did not answer within 0 s"):
        session.ask("a")
    session.close()
    assert time.monotonic() - began < 10
    assert session.process.returncode != 0


def test_an_answer_may_come_in_parts_and_may_take_longer_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.1)
    session = Session(
        ["sh", "-c", "read -r _; printf 'o'; sleep 0.5; printf 'ne\\r\\ntwo\\nEND_OF_ANSWER\\n'; read -r _; printf x"],
        "echo",
        "Redis",
    )
    assert session.ask("a", 20) == ["one", "two"]
    with pytest.raises(BackupError, match="does not answer: x"):
        session.ask("b", 20)
    session.close()


def test_the_position_of_a_server_is_read(server: Server) -> None:
    assert position(Postgres(server, POSTGRES)) == Position(1, 0x7000090, SEGMENT)
