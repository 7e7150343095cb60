# SPDX-License-Identifier: MIT
"""The program that keeps task images in order: what it removes, and above all what it never does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.roles.engines import DAY, NOW, PREFIX, Container, Engine, Image, program, stamp

TASK = f"{PREFIX}/proj_abc:20261124.3.production.k2j3"
OTHER = f"{PREFIX}/proj_abc:20261124.4.production.aaaa"
DIGEST = f"{PREFIX}/proj_abc@sha256:{'d' * 64}"
MINUTE = 60.0
HOUR = 3600.0

Clean = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    double = Engine()
    with double.serving(str(tmp_path / "docker.sock")):
        yield double


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state.json"


@pytest.fixture
def clean(engine: Engine, state: Path, capsys: pytest.CaptureFixture[str]) -> Clean:
    """Clean a disk of 1000 bytes."""

    def call(*flags: str, at: float = NOW) -> tuple[int, Any, str]:
        words = ["clean", "--prefix", PREFIX, "--network", "trigger-runner", "--state", str(state)]
        words += ["--socket", engine.socket, *flags]
        module = program()
        code = module.main(words, lambda path: module.Space(engine.used(), 1000), lambda: at)
        said = capsys.readouterr()
        return code, json.loads(said.out) if said.out else None, said.err

    return call


def remember(state: Path, looked: float = NOW - HOUR, **used: float) -> None:
    state.write_text(json.dumps({"looked": looked, "used": {f"sha256:{name}": last for name, last in used.items()}}))


@pytest.mark.parametrize("status", ["created", "exited", "dead"])
@pytest.mark.parametrize("network", ["trigger-runner", "trigger-runner-second"])
def test_what_is_left_of_a_task_goes(engine: Engine, clean: Clean, status: str, network: str) -> None:
    engine.containers["aa"] = Container("runner-abc", status, network, created=NOW - 11 * MINUTE)
    code, done, _ = clean()
    assert (code, done["containers"], engine.changes()) == (0, ["runner-abc"], ["DELETE /containers/aa"])
    assert engine.requests[-1].method == "GET"
    assert {each.query["v"] for each in engine.requests if each.method == "DELETE"} == {"1"}


@pytest.mark.parametrize(
    "container",
    [
        Container("runner-abc", "running"),
        Container("runner-abc", "paused"),
        Container("runner-abc", "restarting"),
        Container("runner-abc", "removing"),
        Container("runner-abc", "created", created=NOW - 9 * MINUTE),
        Container("runner-abc", "exited", created=NOW - DAY, ended=NOW - 9 * MINUTE),
        Container("runner-abc", "exited", "bridge"),
        Container("runner-abc", "exited", "trigger-runners"),
        Container("runner-abc", "exited", "my-trigger-runner"),
        Container("runner-abc", "exited", "host"),
        Container("my-runner-abc", "exited"),
        Container("runner", "exited"),
        Container("runner-", "exited"),
        Container("trigger-probe-1", "exited"),
        Container("trigger-supervisor-supervisor-1", "exited"),
    ],
    ids=lambda each: f"{each.name}-{each.state}-{each.network}",
)
@pytest.mark.parametrize("flags", [(), ("--all",)])
def test_no_other_container_goes(engine: Engine, clean: Clean, container: Container, flags: tuple[str, ...]) -> None:
    engine.containers["aa"] = container
    code, done, _ = clean(*flags)
    assert (code, done["containers"], engine.changes()) == (0, [], [])


@pytest.mark.parametrize(
    ("name", "status", "wanted"),
    [("/runner-abc", "exited", True), ("/runner-abc", "running", False), ("/my/runner-abc", "exited", False)],
)
def test_what_counts_is_the_container_as_it_is_now(name: str, status: str, wanted: bool) -> None:
    """The list may be older."""
    times = {"StartedAt": stamp(NOW - DAY), "FinishedAt": stamp(NOW - DAY)}
    container = {"Name": name, "Created": stamp(NOW - DAY), "State": {"Status": status, **times}}
    container["HostConfig"] = {"NetworkMode": "trigger-runner"}
    assert program().is_left(container, "trigger-runner", NOW) is wanted


def test_a_container_that_starts_again_meanwhile_stays(engine: Engine, clean: Clean) -> None:
    engine.containers["aa"] = Container("runner-abc", "exited")
    engine.meanwhile = lambda path: setattr(engine.containers["aa"], "state", "running")
    code, done, _ = clean()
    assert (code, done["containers"], list(engine.containers)) == (0, [], ["aa"])


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (Image([TASK]), [TASK]),
        (Image([TASK], [DIGEST]), [TASK]),
        (Image([], [DIGEST]), [DIGEST]),
        (Image([TASK, OTHER]), [TASK, OTHER]),
    ],
    ids=["tag", "tag-and-digest", "digest", "tags"],
)
def test_an_image_that_was_not_used_for_long_goes(
    engine: Engine, state: Path, clean: Clean, image: Image, wanted: list[str]
) -> None:
    engine.images["sha256:a"] = image
    remember(state, a=NOW - 14 * DAY)
    code, done, _ = clean()
    assert (code, done["images"], engine.images) == (0, [wanted[0]], {})
    assert engine.changes()[: len(wanted)] == [f"DELETE /images/{each}" for each in wanted]
    assert done["freed_bytes"] == 100
    assert json.loads(state.read_text()) == {"looked": NOW, "used": {}}


@pytest.mark.parametrize(
    "image",
    [
        Image(["redis:7"]),
        Image(["control.lab:5000/other/proj_abc:20261124.3.production.k2j3"]),
        Image(["control.lab:5000/trigger-two/proj_abc:1"]),
        Image(["control.lab:5000/trigger:1"]),
        Image(["other.lab:5000/trigger/proj_abc:1"]),
        Image([TASK, "kept-by-somebody:1"]),
        Image([TASK], [f"other.lab/proj_abc@sha256:{'d' * 64}"]),
        Image([f"{PREFIX}/probe:1"]),
        Image([f"{PREFIX}/probe:1", TASK]),
        Image([]),
        Image([], ["<none>@<none>"]),
    ],
    ids=lambda each: ",".join(each.tags + each.digests) or "nameless",
)
def test_no_image_of_others_goes(engine: Engine, state: Path, clean: Clean, image: Image) -> None:
    engine.images["sha256:a"] = image
    remember(state, a=NOW - 1000 * DAY)
    for flags in ([], ["--all"], ["--disk-percent", "1"]):
        code, done, _ = clean(*flags)
        assert (code, done["images"], engine.changes()) == (0, [], [])


@pytest.mark.parametrize("status", ["created", "running", "paused", "restarting", "removing", "exited", "dead"])
@pytest.mark.parametrize(
    ("image", "image_id"),
    [("", "sha256:a"), (TASK, ""), (f"{TASK}@sha256:{'d' * 64}", "")],
    ids=["id", "name", "name-and-digest"],
)
def test_no_image_of_a_container_goes(
    engine: Engine, state: Path, clean: Clean, status: str, image: str, image_id: str
) -> None:
    engine.images["sha256:a"] = Image([TASK, OTHER])
    engine.containers["cc"] = Container("somebody", status, "bridge", image, image_id)
    for flags in ([], ["--all"], ["--disk-percent", "1"]):
        remember(state, a=NOW - 1000 * DAY)
        code, done, _ = clean(*flags)
        assert (code, done["images"], engine.changes()) == (0, [], [])
    assert json.loads(state.read_text())["used"] == {"sha256:a": NOW}


def test_the_image_of_a_container_that_goes_can_go_with_it(engine: Engine, state: Path, clean: Clean) -> None:
    engine.images["sha256:a"] = Image([TASK])
    engine.containers["cc"] = Container("runner-abc", "dead", image_id="sha256:a")
    remember(state, a=NOW - 15 * DAY)
    for flags in (["--dry-run"], []):
        _, done, _ = clean(*flags)
        assert (done["containers"], done["images"]) == (["runner-abc"], [TASK])


@pytest.mark.parametrize(
    ("used", "event", "tagged"),
    [
        (NOW - 14 * DAY + 1, None, stamp(0)),
        (NOW - 20 * DAY, ("container", TASK, NOW - MINUTE), stamp(0)),
        (NOW - 20 * DAY, ("container", f"{TASK}@sha256:{'e' * 64}", NOW - MINUTE), stamp(0)),
        (NOW - 20 * DAY, ("container", f"{OTHER}@sha256:{'d' * 64}", NOW - MINUTE), stamp(0)),
        (NOW - 20 * DAY, ("container", "sha256:a", NOW - MINUTE), stamp(0)),
        (NOW - 20 * DAY, ("image", TASK, NOW - MINUTE), stamp(0)),
        (NOW - 20 * DAY, None, stamp(NOW - 13 * DAY)),
        (NOW - 20 * DAY, None, "2026-11-25T10:00:00+05:30"),
    ],
    ids=["seen", "event", "event-cut-digest", "event-digest", "event-id", "pulled", "tagged", "tagged-zone"],
)
def test_an_image_that_was_used_stays(
    engine: Engine, state: Path, clean: Clean, used: float, event: tuple[str, str, float] | None, tagged: str
) -> None:
    engine.images["sha256:a"] = Image([TASK], [DIGEST], tagged=tagged)
    engine.events = [event] if event else []
    remember(state, a=used)
    code, done, _ = clean()
    assert (code, done["images"], engine.changes()) == (0, [], [])


def test_what_was_learnt_once_is_kept_in_mind(engine: Engine, state: Path, clean: Clean) -> None:
    engine.images["sha256:a"] = Image([TASK])
    engine.events = [("container", TASK, NOW - MINUTE)]
    remember(state, a=NOW - 20 * DAY)
    clean()
    engine.events = []
    assert clean(at=NOW + 13.9 * DAY)[1]["images"] == []
    assert clean(at=NOW + 14.1 * DAY)[1]["images"] == [TASK]


@pytest.mark.parametrize(
    "content",
    [None, "", "{", "[]", "7", '{"used": []}', '{"used": {"sha256:a": "x"}, "looked": 1}', '{"used": {"sha256:a": 1}}'],
)
def test_without_a_memory_every_image_counts_as_just_seen(
    engine: Engine, state: Path, clean: Clean, content: str | None
) -> None:
    engine.images["sha256:a"] = Image([TASK], size=990, tagged=stamp(NOW - 100 * DAY))
    if content is not None:
        state.write_text(content)
    code, done, _ = clean()
    assert (code, done["images"], engine.changes()) == (0, [], [])
    assert json.loads(state.read_text()) == {"looked": NOW, "used": {"sha256:a": NOW}}
    assert state.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in state.parent.iterdir() if each.name.startswith("state")] == ["state.json"]


def test_a_clock_that_was_set_back_does_not_keep_images_for_ever(engine: Engine, state: Path, clean: Clean) -> None:
    engine.images["sha256:a"] = Image([TASK])
    remember(state, looked=NOW + 100 * DAY, a=NOW + 100 * DAY)
    assert clean()[0] == 0
    assert clean(at=NOW + 14 * DAY)[1]["images"] == [TASK]


def test_an_image_that_comes_back_is_new(engine: Engine, state: Path, clean: Clean) -> None:
    engine.images["sha256:a"] = Image([TASK])
    remember(state, a=NOW - 15 * DAY)
    assert clean()[1]["images"] == [TASK]
    engine.images["sha256:a"] = Image([TASK])
    assert clean(at=NOW + 900)[1]["images"] == []


def fill(engine: Engine, state: Path) -> None:
    """Fill 950 of 1000 bytes: five task images, b the longest unused of those that can go, and one of others."""
    for name in "abcde":
        engine.images[f"sha256:{name}"] = Image([f"{PREFIX}/proj_{name}:20261124.1.production.x"], size=100)
    engine.images["sha256:f"] = Image(["redis:7"], size=450)
    engine.containers["cc"] = Container("runner-a", "running", image_id="sha256:a")
    remember(state, a=NOW - 9 * DAY, b=NOW - 8 * DAY, c=NOW - 61 * MINUTE, d=NOW - 2 * DAY, e=NOW - 59 * MINUTE)


@pytest.mark.parametrize(
    ("percent", "gone"), [(95, ""), (94, "b"), (85, "b"), (84, "bd"), (70, "bdc"), (65, "bdc"), (1, "bdc")]
)
@pytest.mark.parametrize("flags", [(), ("--dry-run",)])
def test_a_full_disk_takes_the_longest_unused(
    engine: Engine, state: Path, clean: Clean, percent: int, gone: str, flags: tuple[str, ...]
) -> None:
    fill(engine, state)
    _, done, _ = clean("--disk-percent", str(percent), *flags)
    assert [each.split("/proj_")[1][0] for each in done["images"]] == list(gone)
    assert done["freed_bytes"] == (None if flags else 100 * len(gone))


def test_all_takes_every_one_that_no_container_has(engine: Engine, state: Path, clean: Clean) -> None:
    fill(engine, state)
    assert clean("--all")[0] == 0
    assert set(engine.images) == {"sha256:a", "sha256:f"}


def test_a_dry_run_changes_nothing(engine: Engine, state: Path, clean: Clean) -> None:
    fill(engine, state)
    engine.containers["aa"] = Container("runner-abc", "exited")
    before = state.read_text()
    _, done, _ = clean("--dry-run", "--retention-days", "5")
    assert (engine.changes(), state.read_text(), done["containers"]) == ([], before, ["runner-abc"])
    assert len(done["images"]) == 1


@pytest.mark.parametrize("flags", [(), ("--all",), ("--disk-percent", "1")])
def test_an_image_that_is_taken_into_use_meanwhile_keeps_all_its_names(
    engine: Engine, state: Path, clean: Clean, flags: tuple[str, ...]
) -> None:
    engine.images["sha256:a"] = Image([TASK], size=500)
    engine.images["sha256:b"] = Image([OTHER, f"{OTHER}x"], size=490)
    remember(state, a=NOW - 16 * DAY, b=NOW - 15 * DAY)

    def meanwhile(path: str) -> None:
        engine.containers["cc"] = Container("runner-b", "created", image_id="sha256:b", created=NOW)

    engine.meanwhile = meanwhile
    _, done, _ = clean(*flags)
    assert done["images"] == [TASK]
    assert engine.images["sha256:b"].tags == [OTHER, f"{OTHER}x"]


def test_an_image_that_the_engine_keeps_is_no_error(engine: Engine, state: Path, clean: Clean) -> None:
    engine.images["sha256:a"] = Image([TASK])
    engine.answers[f"DELETE /images/{TASK}"] = (409, {"message": "image is being used"}, {})
    remember(state, a=NOW - 15 * DAY)
    code, done, said = clean()
    assert (code, done["images"], done["failed"], said) == (0, [], {}, "")
    assert json.loads(state.read_text())["used"] == {"sha256:a": NOW - 15 * DAY}


def test_an_error_stops_no_other_removal(engine: Engine, state: Path, clean: Clean) -> None:
    engine.images = {"sha256:a": Image([TASK]), "sha256:b": Image([OTHER])}
    engine.containers = {"aa": Container("runner-a", "exited"), "bb": Container("runner-b", "exited")}
    engine.answers[f"DELETE /images/{TASK}"] = (500, {"message": "layer\nbusy"}, {})
    engine.answers["DELETE /containers/aa"] = (500, {"message": "mount busy"}, {})
    remember(state, a=NOW - 16 * DAY, b=NOW - 15 * DAY)
    code, done, said = clean()
    assert (code, done["images"], done["containers"]) == (1, [OTHER], ["runner-b"])
    assert set(done["failed"]) == {"runner-a", TASK}
    assert done["failed"][TASK].endswith("layer busy")
    assert len(said.splitlines()) == 1


def test_an_engine_that_does_not_answer_is_said_in_one_line(
    engine: Engine, tmp_path: Path, state: Path, clean: Clean
) -> None:
    engine.socket = str(tmp_path / "nobody.sock")
    code, done, said = clean()
    assert (code, done, state.exists()) == (1, None, False)
    assert said.startswith(f"The engine does not answer at {engine.socket}: ")
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("prefix", ["", "/", "host", "host/", "/trigger", "host/trigger/", "host//"])
def test_a_prefix_that_would_take_images_of_others_is_refused(prefix: str, state: Path) -> None:
    with pytest.raises(SystemExit):
        program().main(["clean", "--prefix", prefix, "--network", "trigger-runner", "--state", str(state)])


@pytest.mark.parametrize("reference", ["a/b", "a/b:1", "a/b@sha256:1", "a/b:1@sha256:1"])
def test_repository(reference: str) -> None:
    assert program().repository(reference) == "a/b"
    assert program().repository(f"host:5000/{reference}") == "host:5000/a/b"


def test_space_is_that_of_the_filesystem(tmp_path: Path) -> None:
    found = program().space(str(tmp_path))
    assert 0 < found.used < found.total
    assert program().Space(850, 1000).percent() == 85


@pytest.mark.parametrize(
    ("status", "root"),
    [
        ([["Backing Filesystem", "extfs"]], "/docker"),
        ([["driver-type", "io.containerd.snapshotter.v1"]], "/var/lib/containerd"),
        (None, "/docker"),
    ],
)
def test_the_disk_is_that_of_the_images(status: object, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = program().Engine("/nowhere")
    monkeypatch.setattr(engine, "json", lambda _path: {"DockerRootDir": "/docker", "DriverStatus": status})
    assert engine.root() == root
