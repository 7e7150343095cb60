# SPDX-License-Identifier: MIT
"""The program that keeps task images in order: what it fetches, and with what."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.filter.dotenv import dotenv

from tests.unit.plugins.modules.servers import certificate, nobody
from tests.unit.roles.engines import NOW, Engine, Image, Registry, Remote, handler, program, serving

MIB = 1024 * 1024
A, B = "trigger/proj_a", "trigger/proj_b"
TAG = "20261124.3.production.k2j3"
PASSWORD = 'p$$w"o\\rd'

Pull = Callable[..., tuple[int, Any, str]]


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    double = Engine()
    with double.serving(str(tmp_path / "docker.sock")):
        yield double


@pytest.fixture
def registry() -> Registry:
    return Registry(login=("trigger", PASSWORD))


@pytest.fixture
def host(registry: Registry) -> Iterator[str]:
    server = Remote(("127.0.0.1", 0), handler(registry))
    with serving(server):
        yield f"127.0.0.1:{server.server_address[1]}"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    path = tmp_path / "supervisor.env"
    path.write_text(dotenv({"DOCKER_REGISTRY_USERNAME": "trigger", "DOCKER_REGISTRY_PASSWORD": PASSWORD}, "# Ours"))
    return path


@pytest.fixture
def pull(engine: Engine, host: str, secrets: Path, capsys: pytest.CaptureFixture[str]) -> Pull:
    """Pull to a disk of 1000 MiB."""

    def call(*flags: str, at: str = host, scheme: str = "http") -> tuple[int, Any, str]:
        words = ["pull", "--prefix", f"{at}/trigger", "--registry-scheme", scheme, "--credentials", str(secrets)]
        words += ["--socket", engine.socket, "--budget-mib", "900", *flags]
        module = program()
        code = module.main(words, lambda path: module.Space(engine.used(), 1000 * MIB), lambda: NOW)
        said = capsys.readouterr()
        assert PASSWORD not in said.out + said.err
        assert base64.b64encode(f"trigger:{PASSWORD}".encode()).decode() not in said.out + said.err
        return code, json.loads(said.out) if said.out else None, said.err

    return call


def test_the_latest_of_each_environment_comes(engine: Engine, registry: Registry, host: str, pull: Pull) -> None:
    tags = ["20261124.9.production.a", "20261124.10.production.b", "20261123.99.production.c", "20261101.1.staging.d"]
    registry.images = {A: dict.fromkeys([*tags, "latest", "20261125.1.production", "x.1.production.e"], 5)}
    code, done, said = pull()
    assert (code, done["pulled"], said) == (0, [f"{host}/{A}:{tags[1]}", f"{host}/{A}:{tags[3]}"], "")
    _, done, _ = pull("--count", "2")
    assert done["pulled"] == [f"{host}/{A}:{tags[0]}"]


def test_the_latest_of_all_projects_comes_first(registry: Registry, host: str, pull: Pull) -> None:
    registry.images = {
        A: {"20261123.1.production.a": 5},
        B: {"20261124.1.production.b": 5, "20261122.7.preview.c": 5},
    }
    order = [(B, "20261124.1.production.b"), (A, "20261123.1.production.a"), (B, "20261122.7.preview.c")]
    assert pull()[1]["pulled"] == [f"{host}/{name}:{tag}" for name, tag in order]


def test_only_what_is_below_the_namespace_is_asked_for(registry: Registry, host: str, pull: Pull) -> None:
    others = ["other/proj_a", "trigger-two/proj_a", "trigger", "trigger/probe"]
    registry.images = {name: {TAG: 5} for name in [*others, A]}
    assert pull()[1]["pulled"] == [f"{host}/{A}:{TAG}"]
    assert {each.path for each in registry.requests} == {
        "/v2/_catalog",
        f"/v2/{A}/tags/list",
        f"/v2/{A}/manifests/{TAG}",
    }


def test_lists_that_come_in_pages_are_read_to_their_end(registry: Registry, host: str, pull: Pull) -> None:
    """The link names another host there; the login must not go to it, and the page is ours all the same."""
    registry.page = 1
    registry.images = {A: {}, "trigger/x": {}, B: {"20261124.1.production.a": 5, "20261124.2.production.b": 5}}
    assert pull()[1]["pulled"] == [f"{host}/{B}:20261124.2.production.b"]


def test_what_is_here_is_not_fetched_again(engine: Engine, registry: Registry, host: str, pull: Pull) -> None:
    registry.images = {A: {TAG: 5}}
    engine.images["sha256:a"] = Image([f"{host}/{A}:{TAG}"])
    code, done, _ = pull()
    assert (code, done["pulled"], engine.changes()) == (0, [], [])
    assert not any("manifests" in each.path for each in registry.requests)


def test_the_engine_gets_the_login(engine: Engine, registry: Registry, host: str, pull: Pull) -> None:
    registry.images = {A: {TAG: 5}}
    pull()
    (request,) = [each for each in engine.requests if each.method == "POST"]
    assert request.query == {"fromImage": f"{host}/{A}", "tag": TAG}
    card = json.loads(base64.urlsafe_b64decode(request.headers["x-registry-auth"]))
    assert card == {"username": "trigger", "password": PASSWORD, "serveraddress": host}


def test_a_registry_without_a_login_gets_none(
    engine: Engine, registry: Registry, host: str, secrets: Path, pull: Pull
) -> None:
    registry.images, registry.login = {A: {TAG: 5}}, None
    secrets.write_text(dotenv({"DOCKER_REGISTRY_USERNAME": "trigger"}))
    assert pull()[1]["pulled"] == [f"{host}/{A}:{TAG}"]
    assert not any({"x-registry-auth", "authorization"} & set(each.headers) for each in engine.requests)


@pytest.mark.parametrize(
    "step",
    [
        {"error": "no space left", "errorDetail": {"message": "no space left"}},
        {"error": "no space\nleft"},
        {"errorDetail": {"message": "no space left"}},
    ],
)
def test_an_error_in_the_stream_is_one_and_stops_no_other(
    engine: Engine, registry: Registry, host: str, pull: Pull, step: dict[str, Any]
) -> None:
    registry.images = {A: {"20261124.9.production.a": 5}, B: {TAG: 5}}
    broken = f"{host}/{A}:20261124.9.production.a"
    engine.streams[broken] = [{"status": "Pulling"}, step]
    code, done, said = pull()
    assert (code, done["pulled"], done["failed"]) == (1, [f"{host}/{B}:{TAG}"], {broken: "no space left"})
    assert len(said.splitlines()) == 1


def test_other_errors_of_one_image_stop_no_other(engine: Engine, registry: Registry, host: str, pull: Pull) -> None:
    registry.images = {name: {TAG: 5} for name in ["trigger/a", "trigger/b", "trigger/c", "trigger/d", B]}
    registry.answers = {
        "/v2/trigger/a/tags/list": (500, {}, {}),
        f"/v2/trigger/b/manifests/{TAG}": (404, {}, {}),
        f"/v2/trigger/c/manifests/{TAG}": (200, {"schemaVersion": 1}, {}),
    }
    engine.streams[f"{host}/trigger/d:{TAG}"] = [{"error": "denied"}]
    code, done, _ = pull()
    assert (code, done["pulled"]) == (1, [f"{host}/{B}:{TAG}"])
    assert set(done["failed"]) == {f"{host}/trigger/a", *(f"{host}/trigger/{name}:{TAG}" for name in "bcd")}


def test_an_engine_that_refuses_is_an_error(engine: Engine, registry: Registry, host: str, pull: Pull) -> None:
    registry.images = {A: {TAG: 5}}
    engine.answers["POST /images/create"] = (500, {"message": "unauthorized"}, {})
    code, done, _ = pull()
    assert (code, done["failed"]) == (1, {f"{host}/{A}:{TAG}": "500: unauthorized"})


def test_a_repository_whose_tags_were_deleted_is_empty(registry: Registry, pull: Pull) -> None:
    registry.images = {A: {}, B: {}}
    registry.answers[f"/v2/{B}/tags/list"] = (404, {"errors": []}, {})
    code, done, _ = pull()
    assert (code, done["pulled"], done["failed"]) == (0, [], {})


def test_the_budget_holds(engine: Engine, registry: Registry, host: str, pull: Pull) -> None:
    """Task images that are here count with what they take, the others with what is loaded; later ones may fit."""
    engine.images["sha256:a"] = Image([f"{host}/trigger/old:1"], size=40 * MIB)
    engine.images["sha256:b"] = Image(["redis:7"], size=300 * MIB)
    engine.pulled_size = 30 * MIB
    names = [f"2026112{day}.1.production.a" for day in (4, 3, 2, 1)]
    sizes = [10, 31, 30, 1]
    registry.images = {f"trigger/p{day}": {tag: size * MIB} for day, (tag, size) in enumerate(zip(names, sizes))}
    code, done, _ = pull("--budget-mib", "100")
    wanted = [f"{host}/trigger/p{day}:{tag}" for day, tag in enumerate(names)]
    assert (code, done["pulled"]) == (0, [wanted[0], wanted[2]])
    assert done["skipped"] == {wanted[1]: "budget", wanted[3]: "budget"}


@pytest.mark.parametrize(
    ("used", "size", "skipped"), [(850, 1, True), (860, 0, True), (700, 50, False), (700, 51, True)]
)
def test_a_full_disk_gets_no_more(
    engine: Engine, registry: Registry, host: str, pull: Pull, used: int, size: int, skipped: bool
) -> None:
    engine.images["sha256:b"] = Image(["redis:7"], size=used * MIB)
    registry.images = {A: {TAG: size * MIB}}
    code, done, _ = pull("--disk-percent", "85")
    reference = f"{host}/{A}:{TAG}"
    assert (code, done["pulled"]) == (0, [] if skipped else [reference])
    assert done["skipped"] == ({reference: "disk"} if skipped else {})
    assert bool(engine.changes()) != skipped


INDEX = {
    "manifests": [
        {"digest": "sha256:att", "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": "sha256:arm", "platform": {"os": "linux", "architecture": "arm64", "variant": "v8"}},
        {"digest": "sha256:amd", "platform": {"os": "linux", "architecture": "amd64"}},
    ]
}


@pytest.mark.parametrize(
    ("flags", "digest"),
    [((), "amd"), (("--platform", "linux/arm64"), "arm"), (("--platform", "linux/arm64/v8"), "arm")],
)
def test_of_an_image_for_several_platforms_one_counts(
    engine: Engine, registry: Registry, host: str, pull: Pull, flags: tuple[str, ...], digest: str
) -> None:
    sizes = {"sha256:att": 1, "sha256:arm": 6 * MIB, "sha256:amd": 7 * MIB}
    registry.images = {A: {TAG: 0, **sizes}}
    registry.answers[f"/v2/{A}/manifests/{TAG}"] = (200, INDEX, {})
    limit = sizes[f"sha256:{digest}"] // MIB
    assert pull("--budget-mib", str(limit - 1), *flags)[1]["skipped"] == {f"{host}/{A}:{TAG}": "budget"}
    assert pull("--budget-mib", str(limit), *flags)[1]["pulled"] == [f"{host}/{A}:{TAG}"]
    (request,) = [each for each in engine.requests if each.method == "POST"]
    assert request.query.get("platform", "") == "".join(flags[1:])


def test_an_image_for_another_platform_is_an_error(registry: Registry, host: str, pull: Pull) -> None:
    registry.images = {A: {TAG: 0}}
    registry.answers[f"/v2/{A}/manifests/{TAG}"] = (200, INDEX, {})
    code, done, _ = pull("--platform", "linux/s390x")
    assert (code, done["failed"]) == (1, {f"{host}/{A}:{TAG}": "The image is not for linux/s390x"})


def test_a_dry_run_pulls_nothing(engine: Engine, registry: Registry, host: str, pull: Pull) -> None:
    registry.images = {A: {TAG: 5}}
    _, done, _ = pull("--dry-run")
    assert (done["dry_run"], done["pulled"], engine.changes()) == (True, [f"{host}/{A}:{TAG}"], [])


@pytest.mark.parametrize("kind", ["refused", "login", "plain"])
def test_a_registry_that_gives_no_list_is_said_in_one_line(
    engine: Engine, registry: Registry, host: str, pull: Pull, kind: str
) -> None:
    if kind == "login":
        registry.login = ("trigger", "another")
    at = f"127.0.0.1:{nobody()}" if kind == "refused" else host
    scheme = "https" if kind == "plain" else "http"  # plain http answers where TLS is spoken
    code, done, said = pull(at=at, scheme=scheme)
    assert (code, done, engine.changes()) == (1, None, [])
    assert said.startswith(f"The registry {at} ")
    assert len(said.splitlines()) == 1


def test_https_trusts_the_authority_that_is_given_and_no_other(
    registry: Registry, tmp_path: Path, pull: Pull, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry.images = {A: {TAG: 5}}
    authority = tmp_path / "ca.crt"
    server = Remote(("127.0.0.1", 0), handler(registry))
    server.socket = certificate().context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(server, "handle_error", lambda *_: None)
    with serving(server):
        at = f"localhost:{server.server_address[1]}"
        assert pull("--ca-file", str(authority), at=at, scheme="https")[0] == 1
        assert registry.requests == []
        authority.write_text(certificate().pem)
        assert pull("--ca-file", str(authority), at=at, scheme="https")[1]["pulled"] == [f"{at}/{A}:{TAG}"]


@pytest.mark.parametrize(
    "value",
    [
        "plain",
        PASSWORD,
        "a b'#c",
        "\\n\\$",
        "$$$",
        "$",
        "\\",
        "\\\\",
        '"',
        "tab\tnew\nline\rend",
        "ünï \u2028x\x0b",
        "=",
    ],
)
def test_the_login_is_read_as_it_was_written(value: str, tmp_path: Path) -> None:
    text = dotenv(
        {"FIRST": 'x="y"', "DOCKER_REGISTRY_USERNAME": value, "DOCKER_REGISTRY_PASSWORD": f"{value}!", "Z": "1"},
        "Ansible managed",
    )
    assert program().credentials(text) == (value, f"{value}!")


def test_credentials_that_are_not_there_are_said_in_one_line(secrets: Path, pull: Pull) -> None:
    secrets.unlink()
    code, done, said = pull()
    assert (code, done) == (1, None)
    assert str(secrets) in said
    assert len(said.splitlines()) == 1
