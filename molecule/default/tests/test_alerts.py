# SPDX-License-Identifier: MIT
"""Five faults that operators meet. Each has its alert in time, and none when it is mended. `make soak-default`.

All five are made at once, because the rules wait for up to ten minutes: nothing here makes them shorter.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from verification import expected
from verification.deployment import Deployment
from verification.nodes import Node, eventually
from watcher import Watcher

from tests.prometheus import alerts

pytestmark = [pytest.mark.breaks, pytest.mark.soak]

HOST = "solo.default"
SUPERVISOR = "trigger-supervisor-supervisor-1"
DISK, DISK_MIB, FILLED_MIB = "/srv/full", 64, 62
SLOT = "soak"
# The alert comes with 1024 MiB; so much is written at once, and so often.
FILLING_MB, FILLINGS = 100, 12
SERVER, SERVED, SERVED_NAME, SERVED_PORT = "soak-certificate", "/root/served.pem", "soak.default", 8443
LIFETIME_DAYS = 90
# Beside what a rule waits for: the metric is written once a minute, read and judged, and hosts share processors.
GRACE_SECONDS = 180

# Shows each caller the certificate that the file holds at that moment.
SERVE = """
import socket, ssl, sys
listener = socket.create_server(("127.0.0.1", int(sys.argv[2])))
while True:
    stream, _ = listener.accept()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(sys.argv[1])
        context.wrap_socket(stream, server_side=True).close()
    except OSError as error:
        print(error, file=sys.stderr)
"""
# As the role tells the program of metrics where the gateway is. This scenario has none.
TELL = """
import json, sys
path, name, port = sys.argv[1:]
told = json.load(open(path))
told['endpoints'] = {'names': [name], 'address': '127.0.0.1', 'port': int(port)}
open(path, 'w').write(json.dumps(told))
print('{}')
"""


def values() -> dict[str, Any]:
    """Give the settings: monitoring, and a timer of backups that is not due while the test lasts."""
    due = datetime.now(UTC) + timedelta(hours=12)
    # The exporter names disks of the kind tmpfs, and the rules leave these out. No other disk can be filled here.
    disk = {
        "job_name": "disk",
        "static_configs": [{"targets": ["node-exporter:9100"], "labels": {"host": HOST, "instance": HOST}}],
        "metric_relabel_configs": [
            {"source_labels": ["mountpoint"], "regex": DISK, "action": "keep"},
            {"target_label": "fstype", "replacement": "ext4"},
        ],
    }
    return {
        "monitoring_enabled": True,
        "monitoring_scrape_interval_seconds": 5,
        "monitoring_extra_scrape_configs": [disk],
        "backup_timer_enabled": True,
        "backup_schedule": f"*-*-* {due:%H}:00:00",
    }


OFF: dict[str, Any] = {"monitoring_enabled": False, "backup_timer_enabled": False}


def served(days: int) -> str:
    """Give a certificate that has so many days left, with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, SERVED_NAME)])
    ends = now + timedelta(days=days)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(ends - timedelta(days=LIFETIME_DAYS)).not_valid_after(ends)
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    texts = [
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM),
        key.private_bytes(serialization.Encoding.PEM, *form),
    ]
    return b"".join(texts).decode()


def serve(control: Node, days: int) -> None:
    """Let the server show another certificate."""
    control.output("printf %%s %s >%s.new && mv %s.new %s", served(days), SERVED, SERVED, SERVED)


def keep_log(deployment: Deployment) -> None:
    """Make a slot that nobody reads, and write more than it may keep without an alert."""
    deployment.sql(f"SELECT pg_create_logical_replication_slot('{SLOT}', 'pgoutput')")
    message = "pg_logical_emit_message(false, 'filler', repeat('x', 1000000))"
    for _ in range(FILLINGS):
        deployment.sql(f"SELECT count({message}) FROM generate_series(1, {FILLING_MB})")
        # For those who read the log.
        time.sleep(1)


@dataclass(frozen=True)
class Fault:
    """Its alert with labels, what the alert is about, and how the fault is made and mended."""

    alert: str
    labels: Mapping[str, str]
    # There also when all is well: an alert about nothing would be silent, too.
    series: str
    begin: Callable[[Deployment], object]
    mend: Callable[[Deployment], object]
    # So many seconds later the expression of the rule is true.
    late: int = 0

    @property
    def seconds(self) -> int:
        """The time within which the alert has to be there, by what the rule waits for."""
        return self.late + 60 * int(alerts()[self.alert].rule["for"].removesuffix("m")) + GRACE_SECONDS

    def among(self, rows: list[dict[str, str]]) -> bool:
        """Tell whether its alert is there."""
        wanted = {"alertname": self.alert, "host": HOST, **self.labels}
        return any(wanted.items() <= row.items() for row in rows)


FAULTS = [
    # The timer has been there for three days, and made none. It is mended last, when the host is well.
    Fault(
        "TriggerBackupTooOld",
        {},
        "trigger_backup_age_max_seconds",
        lambda deployment: deployment.control.output(
            "touch -d '3 days ago' %s", f"{expected.DIRECTORY}/backup/trigger-backup"
        ),
        lambda deployment: deployment.control.output("systemctl start trigger-backup.service"),
    ),
    Fault(
        "TriggerReplicationLags",
        {"slot": SLOT},
        "trigger_replication_slot_lag_bytes",
        keep_log,
        lambda deployment: deployment.sql(f"SELECT pg_drop_replication_slot('{SLOT}')"),
    ),
    Fault(
        "TriggerWorkerSilent",
        {"worker": HOST},
        f'trigger_worker_heartbeat_timestamp_seconds{{worker="{HOST}"}}',
        lambda deployment: deployment.control.output("docker stop %s", SUPERVISOR),
        lambda deployment: deployment.control.output("docker start %s", SUPERVISOR),
        # As the rule has it, with the interval of the testbed.
        late=60 + 3 * 5,
    ),
    Fault(
        "TriggerCertificateEnds",
        {"name": SERVED_NAME},
        f'trigger_certificate_expiry_timestamp_seconds{{name="{SERVED_NAME}"}}',
        lambda deployment: serve(deployment.control, 5),
        lambda deployment: serve(deployment.control, LIFETIME_DAYS - 5),
    ),
    Fault(
        "TriggerDiskFull",
        {"mountpoint": DISK},
        f'host:disk_used:ratio{{mountpoint="{DISK}"}}',
        lambda deployment: deployment.control.output("fallocate -l %s %s/filler", f"{FILLED_MIB}MiB", DISK),
        lambda deployment: deployment.control.output("rm %s/filler", DISK),
    ),
]
ALERTS = [fault.alert for fault in FAULTS]


def watch(watcher: Watcher, began: Mapping[str, float], fires: bool, seconds: float) -> dict[str, float]:
    """Give the seconds until both programs told of each alert, or neither did. What did not come so is missing."""
    found: dict[str, float] = {}
    deadline = time.monotonic() + seconds
    while len(found) < len(FAULTS) and time.monotonic() < deadline:
        told = watcher.firing().values()
        for fault in FAULTS:
            if fault.alert not in found and {fault.among(rows) for rows in told} == {fires}:
                found[fault.alert] = time.monotonic() - began[fault.alert]
        time.sleep(3)
    return found


@dataclass(frozen=True)
class Story:
    """Seconds until each alert fired, and until it was silent after its fault was mended."""

    known: bool
    before: dict[str, list[dict[str, str]]]
    fired: dict[str, float]
    silent: dict[str, float]


@pytest.fixture(scope="module")
def watched(deployment: Deployment, control: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watcher]:
    """Monitoring of a host with a small disk and a server with a certificate, for as long as the tests last."""
    scratch = tmp_path_factory.mktemp("alerts")
    with ExitStack() as last:
        # The exporter sees disks that were there before it.
        control.output("mkdir -p %s && mount -t tmpfs -o size=%s tmpfs %s", DISK, f"{DISK_MIB}m", DISK)
        last.callback(control.output, "umount -l %s && rmdir %s", DISK, DISK)
        serve(control, LIFETIME_DAYS - 5)
        words = (SERVER, SERVE, SERVED, str(SERVED_PORT))
        control.output("systemd-run --quiet --collect --unit %s python3 -c %s %s %s", *words)
        last.callback(control.output, "systemctl stop %s; rm %s", SERVER, SERVED)
        last.callback(lambda: deployment.play(values=OFF, scratch=scratch).went_through(deployment))
        deployment.play(values=values(), scratch=scratch).went_through(deployment)
        control.python(TELL, f"{expected.DIRECTORY}/monitoring/metrics/settings.json", SERVED_NAME, str(SERVED_PORT))
        yield Watcher(control)


@pytest.fixture(scope="module")
def story(deployment: Deployment, watched: Watcher) -> Story:
    """Break everything, wait for the alerts, mend it, and wait until they are over."""
    known = eventually(lambda: all(watched.query(fault.series) for fault in FAULTS), GRACE_SECONDS, 3)
    before, began = watched.firing(), {}
    with ExitStack() as mended:
        for fault in FAULTS:
            mended.callback(fault.mend, deployment)
            fault.begin(deployment)
            began[fault.alert] = time.monotonic()
        fired = watch(watched, began, True, max(fault.seconds for fault in FAULTS))
    over = dict.fromkeys(ALERTS, time.monotonic())
    return Story(known, before, fired, watch(watched, over, False, GRACE_SECONDS))


def test_everything_is_watched_and_no_alert_fires_at_first(story: Story) -> None:
    assert story.known
    assert {name: [fault.alert for fault in FAULTS if fault.among(rows)] for name, rows in story.before.items()} == {
        "Prometheus": [],
        "Alertmanager": [],
    }


@pytest.mark.parametrize("fault", FAULTS, ids=ALERTS)
def test_an_alert_fires_in_time(story: Story, fault: Fault) -> None:
    assert story.fired.get(fault.alert, float("inf")) <= fault.seconds


@pytest.mark.parametrize("fault", FAULTS, ids=ALERTS)
def test_an_alert_is_silent_when_its_fault_is_mended(story: Story, fault: Fault) -> None:
    assert fault.alert in story.silent
