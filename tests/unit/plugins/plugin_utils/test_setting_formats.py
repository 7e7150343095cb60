# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import FORMATS

DIGEST = f"@sha256:{'0' * 64}"
# Format -> texts that have it, and texts that do not.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "address": (["127.0.0.1", "0.0.0.0", "2001:db8::7"], ["localhost", "300.1.1.1", "10.0.0.0/8"]),
    "bucket": (["packets", "my.images-2"], ["ab", "Packets", "a_b", "-ab", "a..b", "x" * 64]),
    "clickhouse_url": (
        ["https://trigger@clickhouse.example.com:8443", "http://me@10.0.0.1:8123/"],
        ["https://me:hunter2@c.example.com", "https://c.example.com", "c.example.com", "https://me@c.example.com/db"],
    ),
    "controller_file": (["ca.pem", "/tmp/with blank/ca.pem", "~/x"], [" ca.pem", "a\nb", "a\n"]),
    "count": (["1", "3"], ["0", "-1", "3.0", "three"]),
    "destination": (
        ["db.example.com:5432", "192.0.2.0/24:443", "[2001:db8::7]:443", "db"],
        ["db:port", "a b", "10.0.0", "x:0", "https://db.example.com"],
    ),
    "duration": (["10s", "1m", "500 ms"], ["10", "s", "0s", "1 week", "1.5s"]),
    "folder": (
        ["/opt/trigger", "/srv/data/trigger", "/var/lib/trigger", "/srv/trigger.d", "/usr/local/trigger"],
        [
            "/",
            "/etc",
            "/etc/trigger",
            "/usr/local",
            "/opt",
            "/var/lib/docker/x",
            "/tmp/x",
            "/var/run/x",
            "opt/trigger",
            "/opt/trigger/",
            "/opt//x",
            "/opt/../etc",
            "/opt/a b",
            "/opt/a:b",
            "/opt/x\n",
            "/run/x",
            "/dev/shm",
            "/boot/x",
            "/root",
        ],
    ),
    "host": (
        ["mail.example.com", "localhost", "10.0.0.1", "2001:db8::7", "a-b.example"],
        [
            "smtp://mail.example.com",
            "mail.example.com:25",
            " mail",
            "mail .com",
            "a_b.example.com",
            "Mail.example.com",
            "300.1.1.1",
            "-a.example.com",
            "a..b",
            "mail.example.com\n",
        ],
    ),
    "host_and_port": (
        ["r.example.com", "r.example.com:5000"],
        ["http://r.example.com", "r:0", "r:70000", "r:", "R.example.com"],
    ),
    "html_file": (["status.html", "/srv/www/a page.html"], ["status.txt", " a.html", "a.html\n"]),
    "https_url": (["https://ca.example.com/dir"], ["http://ca.example.com/dir", "ca.example.com"]),
    "image": (
        [
            "redis",
            "redis:7",
            "docker.io/library/redis:7.4.5-bookworm",
            f"r.example.com:5000/a/b_c{DIGEST}",
            f"redis:7{DIGEST}",
            "ghcr.io/triggerdotdev/trigger.dev:v4.2.0",
            "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z",
        ],
        [
            "https://r.example.com/redis",
            "redis:",
            "Redis",
            "a//b",
            "redis@sha256:00",
            "a b",
            "r.example.com/:7",
            "/redis",
        ],
    ),
    "image_prefix": (["ghcr.io/", "r.example.com:5000/trigger/"], ["a b", 'x"', "#y", "z\n", "/x"]),
    "inventory_name": (["worker1", "10.0.0.1"], ["a b", "a,b"]),
    "ipv4": (["10.0.0.1"], ["10.0.0", "300.1.1.1", "::1", "host.example.com", "10.0.0.01"]),
    "ipv4_bind": (["0.0.0.0"], ["::", "localhost"]),
    "json_object": (['{"authorization": "Bearer x"}', "{}"], ["[]", "authorization: x", "{", "{'a': 'b'}"]),
    "linux_user": (["anna", "a.b-c"], ["two words", "1st", "a:b"]),
    "engine_version": (["28.5", "28.5.2", "26.1.5"], ["28", "v28.5.2", "28.5.*", "5:28.5.2-1~debian.13~trixie"]),
    "log_size": (["10m", "1g", "500", "100K"], ["10 megabytes", "m", "0m", "10mm", "-1"]),
    "mail": (["me@example.com"], ["me", "me@", "a b@example.com", "me@example.com\n"]),
    "mirror": (
        ["docker.io", "mirror.example.com:5000", "mirror.example.com/docker.io"],
        ["https://mirror.example.com", "mirror.example.com/", "mirror.example.com//a", "Mirror.example.com"],
    ),
    "name": (["worker1.example.com", "gpu_1", "A-1"], ["two words", ".a", "x" * 64, "a/b", "a\n"]),
    "namespace": (["trigger", "team/trigger", "a_b.c--d"], ["Trigger", "a//b", "/a", "a/", "a..b", "a___b", "-a"]),
    "network": (["10.0.0.1", "10.0.0.0/16", "2001:db8::/32"], ["ci.example.com", "10.0.0.0/33", "10.0"]),
    "object_path": (["images/trigger"], ["/images", "images/", "a//b", "a b"]),
    "origin": (
        ["http://localhost:8030", "https://trigger.example.com", "https://10.0.0.1:8443"],
        [
            "trigger.example.com",
            "ftp://trigger.example.com",
            "https://trigger.example.com/",
            "https://a.example.com/x",
            "https://me:x@a.example.com",
            "https://a.example.com:80300",
            "https://a.example.com:0",
            "https://A.example.com",
            "https://a_b.example.com",
            "https://",
            "https://a.example.com?x",
            "https://a.example.com\n",
        ],
    ),
    "outer_origin": (["https://a.example.com"], ["http://localhost:8030", "http://127.0.0.1", "http://0.0.0.0:1"]),
    "outer_url": (["https://a.example.com/otel"], ["http://localhost:8030/otel", "http://127.1.1.1/otel", "x/otel"]),
    "own_file": (
        ["/opt/trigger/secrets.json", "/etc/trigger/secrets.json"],
        ["/etc/secrets.json", "/opt/secrets.json", "secrets.json", "/secrets.json"],
    ),
    "platform": (["linux/amd64", "linux/arm64/v8"], ["arm64", "Linux/amd64"]),
    "platforms": (
        ["linux/amd64", "linux/amd64,linux/arm64"],
        ["linux/arm", "linux/amd64,linux/amd64", "linux/amd64, linux/arm64"],
    ),
    "postgres_url": (
        ["postgresql://trigger@db.example.com:5432/trigger?sslmode=require", "postgres://me@10.0.0.1/x"],
        [
            "postgresql://me:hunter2@db.example.com/x",
            "mysql://me@db/x",
            "postgresql://db.example.com/x",
            "postgresql://me@db.example.com",
            "postgresql://me@db.example.com/x?sslcert=a",
        ],
    ),
    "qualified_name": (["console.example.com"], ["console", "https://console.example.com", "console.example.com:443"]),
    "region": (["eu-central-1"], ["Frankfurt", "eu west"]),
    "registry": (["r.example.com:5000", "10.0.0.0/8"], ["http://r.example.com:5000", "r.example.com/x"]),
    "restic_repository": (
        [
            "/var/backups/trigger",
            "sftp:backup@host:/srv",
            "s3:https://s3.example.com/bucket",
            "rest:https://host:8000/a",
        ],
        ["", "/", "backups", "rest:https://name:password@host/", "ftp:host", "/a b"],
    ),
    "restic_snapshot": (["latest", "0123abcd", "a" * 64], ["", "newest", "0123abc", "XYZ12345"]),
    "restore_time": (
        ["latest", "2026-01-31T12:00:00Z", "2026-01-31T12:00Z", "2026-01-31T12:00:00+02:00"],
        ["now", "2026-01-31", "2026-01-31 12:00:00Z", "2026-01-31T12:00:00"],
    ),
    "schedule": (
        [
            "*:0/15",
            "*:0/2",
            "Sun *-*-* 03:30:00",
            "weekly",
            "hourly",
            "Mon..Fri 22:30",
            "*-*-01 04:00",
            "Mon,Thu 3:00 Europe/Vienna",
            "2030-01-01",
            "12,13:00",
            "*-*-* *:*:00",
            "Sat *-*-1..7 18:00",
            "*-02~01",
        ],
        [
            "sometimes",
            "25:00",
            "*:0/0",
            "*:60",
            "daily\nExecStart=/bin/true",
            "",
            " ",
            "03:30:00 Sun",
            "*-13-01",
            "*-*-32",
            "every day",
            "*:5..1",
            "10m",
            "0 3 * * *",
        ],
    ),
    "sender": (
        ["me@example.com", "Trigger <trigger@example.com>"],
        ["Trigger", "Trigger <trigger>", "a@b <c", "x\n<a@b.com>"],
    ),
    "serial": (["1", "25%", "100%"], ["0", "half", "0%", "101%", "-1", "1.5"]),
    "sql_name": (["task_runs_v1"], ["Task", "a-b", "x" * 64]),
    "subfolder": (["/etc/trigger", "/opt/trigger"], ["/etc", "/", "/usr/bin", "etc/trigger", '/etc/a"b']),
    "time_zone": (
        ["Europe/Vienna", "UTC", "America/Argentina/Salta"],
        ["Mars/Base", "../../etc/passwd", "/etc/passwd", "posixrules/..", "CEST+x y"],
    ),
    "token": (["abc", "AKIA123"], ["a b", "a\n"]),
    "url": (
        ["https://otel.example.com/v1/traces", "http://10.0.0.1:4318/x?y"],
        [
            "otel.example.com",
            "https://me:x@otel.example.com",
            "https://a_b.example.com",
            "https://a b",
            "ftp://x",
            "https://",
            "https://x:0/",
            "https://x:/",
            "https://x:99999/",
            "https://Otel.example.com",
        ],
    ),
    "user": (["trigger", "a.b-c_d"], ["me:you", "two words", "a\n"]),
    "version": (["v4.2.0", "latest"], ["v4 2", "", "a/b"]),
    "web_path": (
        ["/metrics", "/api/v1/query", "/.well-known/x~y_z"],
        ["/", "api/v1", "/api/", "//api", "/api v1", "/api/*", "/a{b}", "/api\n", "https://trigger.example.com/api"],
    ),
}


def test_every_format_has_cases() -> None:
    assert set(CASES) == set(FORMATS)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, (good, _) in CASES.items() for text in good])
def test_a_text_has_the_format(name: str, text: str) -> None:
    assert FORMATS[name].check(text)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, (_, bad) in CASES.items() for text in bad])
def test_a_text_has_it_not(name: str, text: str) -> None:
    assert not FORMATS[name].check(text)


def test_a_controller_without_time_zones_looks_at_the_form_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    assert FORMATS["time_zone"].check("Mars/Base")
    assert not FORMATS["time_zone"].check("../../etc/passwd")
