# SPDX-License-Identifier: MIT
from __future__ import annotations

import subprocess

import pytest
from ansible_collections.selfhosted.trigger_dev.plugins.plugin_utils._setting_formats import FORMATS

from testbed.common import require

DIGEST = f"@sha256:{'0' * 64}"
OFTEN = ["*:*:*", "*:*:0.5/29.5", "*:*:1..9/0.5", "*:*:0/0.25", "*:*:10.5..20", "*:*:30.5/29.4,7"]
# Format -> texts that have it, and texts that do not.
CASES: dict[str, tuple[list[str], list[str]]] = {
    "any_folder": (["/root", "/home/node", "/opt/trigger.dev"], ["/", "opt", "/opt/", "/opt/../etc", "/opt/a b"]),
    "apt_repository": (
        ["https://download.docker.com/linux", "http://mirror.example.com/docker", "http://localhost/docker"],
        [
            *(
                "https://m.example.com/linux/",
                "https://m.example.com/linux/debian",
                "https://m.example.com/ubuntu/dists",
            ),
            "mirror.example.com",
            *(
                "https://download.docker.com",
                "https://download.docker.com/linux/centos",
                "https://m.acme.org/linux/static/x",
            ),
        ],
    ),
    "aws_region": (["eu-central-1", "us-gov-west-1"], ["eu-central-1a", "us-gov-west-1b", "Frankfurt"]),
    "bucket": (["packets", "my.images-2"], ["ab", "Packets", "a_b", "-ab", "a..b", "x" * 64]),
    "clickhouse_url": (
        ["https://trigger@clickhouse.example.com:8443", "http://me@10.0.0.1:8123/"],
        [
            "https://me:hunter2@c.example.com",
            "https://c.example.com",
            "c.example.com",
            "https://me@c.example.com/db",
            "http://me@localhost:8123",
            "http://me@host.docker.internal:8123",
        ],
    ),
    "controller_file": (["ca.pem", "/tmp/with blank/ca.pem", "~/x"], [" ca.pem", "a\nb", "a\n"]),
    "count": (["1", "3"], ["0", "-1", "3.0", "three"]),
    "destination": (
        ["db.example.com:5432", "192.0.2.0/24:443", "[2001:db8::7]:443", "db"],
        [
            "db:port",
            "a b",
            "10.0.0",
            "x:0",
            "https://db.example.com",
            "10.0.0.1-10.0.0.9",
            "localhost:5432",
            "127.0.0.1",
            "[::1]:80",
            "::1",
            *("host.docker.internal", "gateway.docker.internal:443"),
        ],
    ),
    "duration": (["10s", "1m", "500 ms"], ["10", "s", "0s", "1 week", "1.5s"]),
    "folder": (
        [
            *("/opt/trigger", "/srv/data/trigger", "/var/lib/trigger", "/srv/trigger.d", "/usr/local/trigger"),
            *("/opt/trigger+prod", "/home/node/trigger", "/home/node/.config/trigger", "/root/trigger"),
            *("/var/lib/prometheus/node-exporter", "/var/lib/node_exporter", "/var/local/trigger", "/mnt/disk"),
            *("/usr/local/lib/trigger", "/usr/local/share/trigger", "/var/backups/trigger"),
        ],
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
            *("/home/node", "/home/node/.ssh", "/home/node/.ssh/x", "/home/node/.config", "/root/.ssh"),
            *("/home/node/.local/share", "/root/.docker/x"),
            *("/usr/local/bin", "/usr/local/bin/x", "/usr/local/lib", "/usr/local/share", "/usr/local/lib/systemd"),
            *("/var/lib/dpkg", "/var/lib/postgresql/16", "/var/lib/systemd", "/var/lib/cloud"),
            *("/var/www", "/var/www/html", "/var/mail", "/var/backups", "/var/local", "/var/snap/x"),
            *("/opt/containerd", "/opt/cni/bin", "/snap", "/snap/x", "/lost+found"),
        ],
    ),
    "header": (
        ["metrics $ecret", "x"],
        ["${SECRET}", "'x y'", "\u20ac" * 16, " x", "x ", "a\nb", "a\tb", "a\x7fb", "x\n", "p\u00e4ss"],
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
            *("mail.example.123", "registry.10.0.0.1"),
        ],
    ),
    "host_and_port": (
        ["r.example.com", "r.example.com:5000"],
        ["http://r.example.com", "r:0", "r:70000", "r:", "R.example.com"],
    ),
    "html_file": (["status.html", "/srv/www/a page.html"], ["status.txt", " a.html", "a.html\n"]),
    "https_url": (
        ["https://ca.example.com/dir"],
        [
            "http://ca.example.com/dir",
            "ca.example.com",
            "https://localhost:14000/dir",
            "https://host.docker.internal/dir",
            "https://ca.example.com/",
        ],
    ),
    "image": (
        [
            "redis:7",
            "redis:7-alpine",
            f"redis:main{DIGEST}",
            "r.example.com/latest:7",
            "redis:latest-7",
            f"redis:latest{DIGEST}",
        ],
        [
            *("redis:latest", "docker.io/library/redis:latest", "redis", "redis:Latest", "own/caddy:main"),
            *("redis:alpine", "node:lts", "own/redis:HEAD"),
        ],
    ),
    "image_of_any_tag": (
        [
            "redis:7",
            "redis:latest",
            "docker.io/library/redis:7.4.5-bookworm",
            f"r.example.com:5000/a/b_c{DIGEST}",
            f"redis:7{DIGEST}",
            "ghcr.io/triggerdotdev/trigger.dev:v4.2.0",
            "quay.io/minio/minio:RELEASE.2025-09-07T16-13-09Z",
        ],
        [
            "https://r.example.com/redis",
            "redis",
            "r.example.com:5000/redis",
            "redis:",
            "Redis:7",
            "a//b:1",
            "redis@sha256:00",
            "a b",
            "r.example.com/:7",
            "/redis",
            "../redis",
            "./redis",
        ],
    ),
    "image_and_digest": ([f"r.example.com/node{DIGEST}", f"node:22{DIGEST}"], ["node:22", "r.example.com/node"]),
    "image_prefix": (
        ["ghcr.io/", "r.example.com:5000/trigger/"],
        ["a b", 'x"', "#y", "z\n", "/x", "registry.example.com", "r.x:5000"],
    ),
    "image_with_registry": (
        [
            *("docker.io/library/redis:7.4.5-bookworm", "localhost/own:1", "mirror:5000/library/redis:7"),
            f"r.example.com/node{DIGEST}",
        ],
        ["redis:7.4.5-bookworm", "library/redis:7", f"redis{DIGEST}", f"redis:7{DIGEST}", "r.example.com/node"],
    ),
    "inventory_name": (["worker1", "10.0.0.1"], ["a b", "a,b"]),
    "ipv4": (["10.0.0.1"], ["10.0.0", "300.1.1.1", "::1", "host.example.com", "10.0.0.01"]),
    "ipv4_bind": (["0.0.0.0"], ["::", "localhost"]),
    "json_headers": (
        ['{"authorization": "Bearer x"}', "{}", '{"x-a_b": "a b"}'],
        [
            *("[]", "authorization: x", "{", "{'a': 'b'}", '{"a": {"b": 1}}', '{"a": null}', '{"a": 1}', '{"a": ""}'),
            *('{"a b": "x"}', '{"": "x"}', '{"a:": "x"}', '{"a": "x\\n"}', '{"a": " x"}', '{"a": "Bearer \u2026"}'),
        ],
    ),
    "key_url": (
        ["https://download.docker.com/linux", "https://localhost/docker"],
        [
            *("http://mirror.example.com/docker", "https://me:x@mirror.example.com", "mirror.example.com"),
            *("https://download.docker.com/linux/debian/gpg", "https://m.acme.org/docker/ubuntu"),
            *("https://download.docker.com", "https://download.docker.com/linux/rhel"),
        ],
    ),
    "text": (["Acme\u00a0GmbH", '"Acme"', "<Acme>", "$(a)"], ["Acme\n", " Acme", "a\nb"]),
    "line": (
        [
            *("pass phrase", "$!{{'\"", "pässword", "$(a", "${a}b", "a<b>", "<3 you>", "'", '"a"b"', "$2y$10$x"),
            *("a\u200db", "$ANSIBLE", "vault!", "${0}"),
        ],
        [
            *("hunter2\n", " hunter2", "hunter2\t", "a\nb", "\n", "a\x7fb"),
            *(
                "${SMTP_PASSWORD}",
                "${SMTP_PASSWORD:?missing}",
                "$(cat /run/secret)",
                "<password>",
                "<your-api-key here>",
            ),
            *("$ANSIBLE_VAULT;1.1;AES256\n3132\n", "!vault |", "'hunter2'", '"hunter2"'),
            *("hunter\u200b2", "\ufeffhunter2", "hun\u00a0ter2", "hunter2\u00ad"),
        ],
    ),
    "linux_user": (["anna", "a.b-c", "host$", "anna@corp.acme.org"], ["two words", "1st", "a:b", "anna@", "a@b c"]),
    "collection_version": (["0.2.0", "1.12.0"], ["1", "1.2", "v1.2.0", "latest", "1.2.0-rc1"]),
    "engine_version": (
        ["28.5", "28.5.2", "26.1.5", "20.10", "20.10.24"],
        ["28", "19.03", "18.9.1", "20.9", "v28.5.2", "28.5.*", "5:28.5.2-1~debian.13~trixie"],
    ),
    "log_size": (["10m", "1g", "100K", "5MiB"], ["10", "500b", "10 megabytes", "m", "0m", "10mm", "-1"]),
    "mail_pattern": (
        [
            r"^me@example\.com$",
            "me@example.com$",
            r"^(me|you)@(example\.com|example\.org)$",
            ".*@.*$",
            "[^@]{2,}@example.com$",
            r"[a-z,\],; ]+@example.com$",
            r"a\,b@x$",
            "https://x@y$",
            r"^me\@example\.com$",
            "^me[@]example[.]com$",
            r"@a\.com$|@b\.com$",
        ],
        [
            "a@example.com,b@example.com",
            "a@example.com; b@example.com",
            "a@example.com b@example.com",
            "^a@example.com$\n",
            r"/^me@example\.com$/",
            "/me@example.com/i",
            "[a-z]@x{2,},b@y$",
            *(r"^me@acme\\.org$", r"^@acme\.org$", "^me@acme[.]org$|^@acme[.]org$"),
            # The webapp looks for them anywhere.
            *("me@example.com", ".*", r"@a\.com|@b\.com$", r"@a\.com\$", "@a.com[$]", "^(me@a.com$|you)"),
            # They fit addresses of others, too.
            *(r"example\.com$", "$", ".*$", r"^me@a\.com$|b\.com$", r"[^@]+\.com$"),
        ],
    ),
    "mail_pattern_of_whole": (
        [
            r"^me@example\.com$",
            r"^(me|you)@example\.com$",
            "^a@b.c$|^d@e.f$",
            "^[^@|(]+@b.c$",
            r"^.+@acme\.org$",
            r"^(?<who>me)@acme\.org$",
        ],
        [
            "me@example.com$",
            "^me@example.com",
            "^a@b.c|d@e.f$",
            "^a@b.c$|d@e.f$",
            "a@b.c,^d@e.f$",
            r"\^a@b.c$",
            "^.*$",
            "^.+@.+$",
            "^[^@]+@[^@]+$",
            "^me@acme$|^.*@.*$",
        ],
    ),
    "mail": (
        ["me@example.com", "me+trigger@mail.Example.com", "o'neil@localhost", "jürgen@bücher.example"],
        [
            "me",
            "me@",
            "a b@example.com",
            "me@example.com\n",
            "me@example.com,",
            "me@example.com;you@example.com",
            "mailto:me@example.com",
            "me@example..com",
            "me@-example.com",
            "'me@example.com'",
            "me@https://example.com",
        ],
    ),
    "mirror": (
        [
            "docker.io",
            "mirror.example.com:5000",
            "mirror.example.com/docker.io",
            "mirror:5000/hub",
            "localhost/a",
            "r.io/library/x",
            "harbor.example.com/library",
        ],
        [
            *("https://mirror.example.com", "mirror.example.com/", "mirror.example.com//a", "Mirror.example.com"),
            *(
                "docker.io/library",
                "ghcr.io/triggerdotdev",
                "mirror/docker.io",
                "acme/library",
                "registry-1.docker.io/library",
            ),
        ],
    ),
    "name": (["worker1.example.com", "gpu_1", "A-1"], ["two words", ".a", "x" * 64, "a/b", "a\n"]),
    "namespace": (["trigger", "team/trigger", "a_b.c--d"], ["Trigger", "a//b", "/a", "a/", "a..b", "a___b", "-a"]),
    "network": (
        ["10.0.0.1", "10.0.0.0/16", "2001:db8::/32"],
        [
            "ci.example.com",
            "10.0.0.0/33",
            "10.0",
            "10.0.0.0/255.0.0.0",
            "10.0.0.0/0.0.0.255",
            "fe80::1%eth0",
            "10.0.0.0/",
            *("10.0.0.5/0", "0.0.0.0/0", "::/0", "10.0.0.5/16", "2001:db8::1/32"),
        ],
    ),
    "object_path": (["images/trigger", "a/.b/..c"], ["/images", "images/", "a//b", "a b", "..", ".", "a/../b", "a/.."]),
    "origin": (
        ["http://localhost:8030", "https://trigger.example.com", "https://10.0.0.1:8443", "http://a.example.com:80"],
        [
            "http://a.example.com:443",
            "https://a.example.com:80",
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
    "private_host": (
        ["control.example.com", "10.0.0.1", "localhost-1.example.com"],
        [
            "control",
            "fd00::1",
            "[fd00::1]",
            "localhost",
            "db.localhost",
            "127.0.0.1",
            "0.0.0.0",
            "10.0.0",
            "a.b:25",
            "host.docker.internal",
        ],
    ),
    "outer_host": (
        ["mail.example.com", "10.0.0.1", "2001:db8::7", "localhost-1.example.com"],
        [
            "localhost",
            "db.localhost",
            "localhost.localdomain",
            "127.0.0.1",
            "127.1.1.1",
            "0.0.0.0",
            "::1",
            "::",
            "a:25",
            "host.docker.internal",
        ],
    ),
    "outer_origin": (
        ["https://a.example.com"],
        ["http://localhost:8030", "http://127.0.0.1", "http://0.0.0.0:1", "http://host.docker.internal:8030"],
    ),
    "outer_url": (
        ["https://a.example.com/otel", "http://a.example.com:4430", "https://ghost.docker.internal.acme.org"],
        [
            "http://a.example.com:443/otel",
            "http://localhost:8030/otel",
            "http://127.1.1.1/otel",
            "x/otel",
            "http://host.docker.internal/x",
        ],
    ),
    "own_file": (
        ["/opt/trigger/secrets.json", "/etc/trigger/secrets.json"],
        [
            "/etc/secrets.json",
            "/home/node/secrets.json",
            "/etc/ssl/private/secrets.json",
            "/opt/secrets.json",
            "secrets.json",
            "/secrets.json",
        ],
    ),
    "password": (
        ["hunter2", "$2y$ is no hash", "{SHA}", "$apr1"],
        ["hunter2\n", "${PASSWORD}", f"$2y$10${'a' * 53}", "$apr1$8sF0$x", "{SHA}W6ph5Mm5Pz8Ggi="],
    ),
    "outer_telemetry": (
        ["https://a.acme.org/otel", "http://10.0.0.1:4318", "https://a.acme.org/v1/traces/x"],
        [
            *("otel.acme.org", "http://localhost:4318", "http://a.acme.org:4317", "https://a.acme.org/v1/traces"),
            *("https://a.acme.org/otel/", "https://a.acme.org/otel/v1/logs/", "http://host.docker.internal:4318"),
        ],
    ),
    "telemetry": (
        ["https://a.acme.org/otel", "http://localhost:8030/otel"],
        ["http://localhost:4317", "https://a.acme.org/v1/metrics", "https://a.acme.org/", "a.acme.org", "http://a:x"],
    ),
    **{
        f"telemetry_{signal}": (
            [f"https://a.acme.org/v1/{signal}", "https://a.acme.org/api/telemetry?x=y", "http://a.acme.org:4318/x/"],
            [
                *("otel.acme.org", "ftp://a.acme.org/x", f"http://localhost:4318/v1/{signal}", "https://a.acme.org"),
                *(f"http://a.acme.org:4317/v1/{signal}", f"https://a.acme.org/x/v1/{other}"),
                f"http://host.docker.internal:4318/v1/{signal}",
            ],
        )
        for signal, other in (("logs", "traces"), ("metrics", "logs"), ("traces", "metrics"))
    },
    "platform": (
        ["linux/amd64", "linux/amd64/v3", "linux/arm64", "linux/arm64/v8"],
        ["arm64", "Linux/amd64", "windows/amd64", "linux/aarch64", "darwin/arm64", "linux/x86_64", "linux/arm64/"],
    ),
    "platforms": (
        ["linux/amd64", "linux/amd64,linux/arm64"],
        ["linux/arm", "linux/amd64,linux/amd64", "linux/amd64, linux/arm64"],
    ),
    "postgres_url": (
        [
            "postgresql://trigger@db.example.com:5432/trigger?sslmode=require",
            "postgres://me@10.0.0.1/x",
            "postgresql://me%40tenant@db.example.com/x?sslmode=verify-full&application_name=a%20b&schema=public",
            "postgresql://me@db.example.com/x?pgbouncer=false",
        ],
        [
            "postgresql://me:hunter2@db.example.com/x",
            "mysql://me@db/x",
            "postgresql://db.example.com/x",
            "postgresql://me@db.example.com",
            "postgresql://me@db.example.com/x?sslcert=a",
            "postgresql://me@localhost/x",
            "postgresql://me@127.0.0.1:5432/x",
            "postgresql://me@host.docker.internal/x",
            "postgresql://me%zz@db.example.com/x",
            *(
                f"postgresql://me@db.example.com/x?{query}"
                for query in (
                    "sslmode=verify_full",
                    "sslmode=REQUIRE",
                    "sslmode=allow",
                    "sslmode=",
                    "SSLMode=require",
                    "sslmode=disable&sslmode=require",
                    "sslmode=require;schema=public",
                    "ssl=true",
                    "schema=trigger",
                    "pgbouncer=true",
                    "host=/run/postgresql",
                    "password=hunter2",
                )
            ),
        ],
    ),
    "proxy": (
        ["127.0.0.1", "10.0.0.2", "10.0.0.0/16", "2001:db8::/32"],
        ["127.0.0.0/8", "127.0.0.1/32", "127.0.0.2", "::1", "::1/128", "::ffff:127.0.0.1", "10.0.0.5/24", "host"],
    ),
    "qualified_name": (["console.example.com"], ["console", "https://console.example.com", "console.example.com:443"]),
    "region": (["eu-central-1"], ["Frankfurt", "eu west"]),
    "registry": (
        ["r.example.com:5000", "10.0.0.0/8"],
        ["http://r.example.com:5000", "r.example.com/x", "10.0.0.5/8", "0.0.0.0/0"],
    ),
    "restic_repository": (
        [
            "/var/backups/trigger",
            "sftp:backup@host:/srv",
            "sftp:host:srv",
            *("sftp:me@host:./23/backups", "sftp://me@host:23/backups", "sftp:host:23abc/x"),
            "sftp://backup@host:2222//srv",
            "s3:https://s3.example.com/bucket",
            "s3:s3.example.com/bucket/path",
            "s3://s3.example.com/bucket",
            *("s3:http://minio/bucket", "s3:minio:9000/bucket"),
            "rest:https://host:8000/a",
            "rest:http://host:8000",
            "b2:bucket",
            "b2:bucket:path",
            "azure:container:/",
            "gs:bucket:/path",
            "rclone:remote:bucket",
        ],
        [
            "",
            "/",
            "//",
            "/etc",
            "/srv",
            "/proc/backups",
            "/tmp/backups",
            "/var/lib/docker/backups",
            "/opt/../opt/trigger",
            "/opt/trigger/",
            "/srv/$HOME",
            "backups",
            "rest:https://name:password@host/",
            "rest:https:///path",
            "ftp:host",
            "/a b",
            "s3:s3.example.com",
            *("s3://bucket/path", "s3:bucket/path", "s3:https:s3.example.com/b", "s3:https:/s3.example.com/b"),
            "s3:https://key:secret@s3.example.com/bucket",
            "sftp:me:hunter2@host:/srv",
            "sftp:me@host",
            "azure:container",
            "gs:bucket",
            "rclone:remote",
            *("sftp:me@host:23/backups", "sftp:host:2222/srv/backups"),
        ],
    ),
    "restic_snapshot": (["latest", "0123abcd", "a" * 64], ["", "newest", "0123abc", "XYZ12345"]),
    "restic_variable": (
        ["AWS_ACCESS_KEY_ID", "RESTIC_REST_USERNAME", "GOGC", "HTTPS_PROXY", "no_proxy", "TMPDIR"],
        [
            *("RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_REPOSITORY", "AWS KEY", "AWS-KEY", "1ST"),
            *("aws_secret_access_key", "PATH", "LD_PRELOAD", "RESTIC_", "AWS_a"),
        ],
    ),
    "restore_time": (
        [
            "latest",
            "2026-01-31T12:00:00Z",
            "2026-01-31T12:00Z",
            "2026-01-31T12:00:00+02:00",
            "2026-01-31T12:00:00.123Z",
            "2026-01-31T12:00:00.5+02:00",
        ],
        [
            "now",
            "2026-01-31",
            "2026-01-31 12:00:00Z",
            "2026-01-31T12:00:00",
            "2026-13-45T12:00:00Z",
            *("2026-01-31T12:00.5Z", "2026-01-31T12:00:00.Z"),
            "2026-02-30T12:00:00Z",
            "2026-01-31T12:00:00+25:00",
            "2126-01-31T12:00:00Z",
        ],
    ),
    "runtime": (["node-22", "bun"], ["node", "node-", "Node-22", "bun-1", "node-22.1"]),
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
            "Monday..wed,SUN *-*~7/1 2:30",
            "*-2-29",
            "*-*-1..3/3",
            "*-*~19/3",
            "*-*~19/3,25",
            "*-*~22,19/3,22",
            "*-*~5..28/3,10/5",
            "0/6:15",
            "Mon, 03:00",
            "*:*:30.5",
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
            # systemd takes these, and waits for ever.
            "*-02-30 02:00",
            "*-04,06-31",
            "2020-01-01 02:00",
            "2099-02-29",
            "Mon 2099-01-01",
            # Steps that do not come a second time, as systemd does not take them.
            "*:0/90",
            "*:0/60",
            "0/36:00",
            "*/2:00",
            "*-*-1/40",
            "*-*~3/5",
            "Monkey 02:00",
            "Tues 02:00",
            "Fri..Mon 02:30",
            "Mon.. 02:00",
            "*-*~29",
            # In a list from the end of the month, systemd 252 counts fewer days for each further entry.
            "*-*~28,19/3",
            "*-*~28,19",
            "*-*~20,26/3",
            "*-*~23,19/3,25",
            "*-*~28,",
            "*,5:00",
            # Seconds alone have fractions.
            # More often than anything here may run, which systemd takes.
            *OFTEN,
            *("*:0/15.5", "*:30.5", "1.5:00", "*:*:30.5/29.5", "*:*:60.1", "*:*:0/0.0", "*:*:5."),
        ],
    ),
    "rare_schedule": (
        ["*:0/15", "hourly", "daily", "Sun *-*-* 03:30:00", "Mon..Fri 02,14:30"],
        ["*-*-* *:*:*", "minutely", "*:0/10", "00:00,10", "*:*:0/20", "23:55,00:00:30", "sometimes", "*-02-30 02:00"],
    ),
    "sender": (
        ["me@example.com", "Trigger.dev <trigger@example.com>", '"Trigger, Inc" <a@b.com>'],
        ["Trigger", "Trigger <trigger>", "a@b <c", "x\n<a@b.com>", "Trigger, Inc <a@b.com>", "a@b.com,"],
    ),
    "serial": (["1", "25%", "100%"], ["0", "half", "0%", "101%", "-1", "1.5"]),
    "sql_name": (["task_runs_v1"], ["Task", "a-b", "x" * 64]),
    "subfolder": (
        ["/etc/trigger", "/etc/trigger/client", "/etc/buildkit", "/opt/trigger", "/home/node/.config/trigger"],
        [
            *("/etc", "/", "/usr/bin", "etc/trigger", '/etc/a"b'),
            *("/etc/ssl/certs", "/etc/docker", "/etc/systemd/system", "/etc/cron.daily", "/etc/profile.d/x"),
            *("/etc/ufw", "/etc/netplan", "/etc/cloud", "/etc/sysconfig", "/etc/kubernetes/pki", "/etc/opt"),
            *("/home/node", "/root/.ssh"),
        ],
    ),
    "time_zone": (
        ["Europe/Vienna", "UTC", "America/Argentina/Salta"],
        ["Mars/Base", "../../etc/passwd", "/etc/passwd", "posixrules/..", "CEST+x y", "localtime", "Factory"],
    ),
    "token": (["abc", "AKIA123"], ["a b", "a\n", "<client-id>", '"abc"', "a\u200b"]),
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
    "registry_user": (
        ["trigger", "robot$team+ci", "org+robot", "me@example.com", "O'Neil"],
        ["me:you", "two words", "a\n", "#a", "a`b", "{a}", "a\0"],
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


@pytest.mark.parametrize(
    ("known", "texts"),
    [
        (True, CASES["schedule"][0] + OFTEN),
        (False, [text for text in CASES["schedule"][1] if text not in OFTEN]),
    ],
)
def test_systemd_judges_schedules_alike(known: bool, texts: list[str]) -> None:
    """It may name none, and then never comes."""
    require({"systemd-analyze": "systemd"})
    for text in texts:
        words = ["systemd-analyze", "calendar", "--", text]
        done = subprocess.run(words, capture_output=True, text=True, check=False, env={"TZ": "UTC", "LC_ALL": "C"})
        assert (done.returncode == 0 and "elapse: never" not in done.stdout) == known, text
