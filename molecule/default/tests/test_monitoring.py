# SPDX-License-Identifier: MIT
"""Monitoring is one setting: everything is read, nothing is open, and it goes without a trace."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from verification.deployment import Deployment, Play
from verification.nodes import Node, eventually
from verification.rotation import Rotated, rotate
from watcher import PROJECT, PROMETHEUS, Watcher

pytestmark = pytest.mark.changes

GRAFANA = "http://127.0.0.1:3003"
VALUES: dict[str, Any] = {
    "monitoring_enabled": True,
    "status_schedule": "hourly",
    "monitoring_scrape_interval_seconds": 5,
    "webapp_metrics_password": "hunter2-of-the-webapp",
    "monitoring_receivers": [
        {"name": "hook", "webhook_url": "http://192.0.2.1/hunter2-of-the-hook", "webhook_token": "hunter2-of-the-token"}
    ],
}
OFF: dict[str, Any] = {"monitoring_enabled": False, "status_schedule": ""}
# Generated secret -> addresses that ask for it, and the user.
SECRET_LOGINS: dict[str, list[tuple[str, str]]] = {
    "monitoring_password": [(f"{PROMETHEUS}/-/healthy", "admin"), (f"{GRAFANA}/api/search", "admin")],
    "monitoring_write_password": [(f"{PROMETHEUS}/-/healthy", "worker")],
}
WEBAPP = "trigger-webapp-webapp-1"
# A series of each job that must be there, with the least that it is.
SERIES = {
    "prometheus": "prometheus_build_info",
    "alertmanager": "alertmanager_build_info",
    "grafana": "grafana_build_info",
    "webapp": "process_start_time_seconds",
    "postgres": "pg_up == 1",
    "redis": "redis_up == 1",
    "clickhouse": "ClickHouseMetrics_Query",
    "registry": "go_info",
    "node": "node_memory_MemAvailable_bytes",
    "supervisor": "queue_consumer_pool_consumer_count",
}


@dataclass(frozen=True)
class Monitored(Watcher):
    """The runs that brought it, and the host with it."""

    first: Play
    second: Play

    def jobs(self) -> set[str]:
        """See that every target is up in the end, and name the jobs."""

        def down() -> dict[str, str]:
            targets = self.ask("targets")["activeTargets"]
            return {row["labels"]["job"]: row["lastError"] for row in targets if row["health"] != "up"}

        found: dict[str, str] = {}

        def all_up() -> bool:
            found.clear()
            found.update(down())
            return not found

        assert eventually(all_up), found
        return {row["labels"]["job"] for row in self.ask("targets")["activeTargets"]}


@pytest.fixture(scope="module")
def monitored(deployment: Deployment, control: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Monitored]:
    """Switch it on, look, and switch it off."""
    scratch = tmp_path_factory.mktemp("monitoring")
    first = deployment.play(values=VALUES, scratch=scratch)
    yield Monitored(control, first, deployment.play(values=VALUES, scratch=scratch))
    left = deployment.play(values=OFF, scratch=scratch)
    assert left.code == 0, left.ending()
    facts = control.facts()
    assert [name for name in facts["containers"] if name.startswith(PROJECT)] == []
    assert {"trigger-monitoring", "trigger-metrics"} & set(facts["networks"]) == set()
    assert [name for name in facts["volumes"] if "prometheus" in name or "alertmanager" in name] == []
    assert [path for path in facts["files"] if path.startswith(("monitoring", "status"))] == []
    assert control.run("systemctl list-unit-files 'trigger-status*' --no-legend").stdout == ""


def test_it_is_deployed_once(monitored: Monitored) -> None:
    assert monitored.first.code == 0, monitored.first.ending()
    assert monitored.second.code == 0, monitored.second.ending()
    assert monitored.second.changes == []


def test_every_target_is_up(monitored: Monitored) -> None:
    assert monitored.jobs() == set(SERIES)
    found = {row["labels"]["job"]: row["labels"] for row in monitored.ask("targets")["activeTargets"]}
    assert {row["host"] for row in found.values()} == {monitored.control.name}


@pytest.mark.parametrize("job", SERIES)
def test_metrics_are_there(monitored: Monitored, job: str) -> None:
    name, _, rest = SERIES[job].partition(" ")
    assert eventually(lambda: monitored.query(f'{name}{{job="{job}"}} {rest}'))


def test_runs_that_wait_are_counted(monitored: Monitored) -> None:
    key = 'redis_keys_count{key="engine:runqueue:workerQueue:*"}'
    assert eventually(lambda: monitored.query(f"{key} >= 0"))


def test_files_of_metrics_are_read(monitored: Monitored) -> None:
    folder = "/opt/trigger/monitoring/textfile"
    monitored.control.output("echo 'test_of_the_folder 7' >%s/test.prom; chmod 644 %s/test.prom", folder, folder)
    found = eventually(lambda: monitored.query("test_of_the_folder"))
    assert found
    assert found[0]["value"][1] == "7"


def test_rules_are_loaded(monitored: Monitored) -> None:
    root = Path(__file__).resolve().parents[3] / "roles/monitoring/files/rules"
    files = {row["file"].rpartition("/")[2] for row in monitored.ask("rules")["groups"]}
    assert files == {path.name for path in root.glob("*.yml")}
    managers = monitored.ask("alertmanagers")["activeAlertmanagers"]
    assert [row["url"] for row in managers] == ["http://alertmanager:9093/api/v2/alerts"]


def test_the_status_knows_it(monitored: Monitored, deployment: Deployment, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    values = {**VALUES, "status_report_file": str(page)}
    status = deployment.play(playbook="selfhosted.trigger_dev.status", values=values, scratch=tmp_path)
    (host,) = json.loads(page.with_suffix(".json").read_text())["hosts"]
    rows = {check["what"]: check for check in host["checks"]}
    for service in monitored.containers():
        assert rows[f"{PROJECT}/{service}"]["ok"], status.ending()
    assert rows["alerts"]["ok"], rows["alerts"]
    drift = rows[f"drift of {PROJECT}"]
    assert drift["ok"], drift
    assert not drift["warning"], drift


def test_the_timer_of_the_status_writes_what_the_host_knows(monitored: Monitored) -> None:
    control = monitored.control
    assert control.output("systemctl is-active trigger-status.timer") == "active"
    control.output("systemctl start trigger-status.service || true")
    report = json.loads(control.read("/opt/trigger/status/page/status.json"))
    (host,) = report["hosts"]
    assert [check for check in host["checks"] if not check["ok"]] == []
    rows = {check["what"]: check for check in host["checks"]}
    heartbeat = f"heartbeat of {control.name}"
    for what in ("trigger-webapp/webapp", f"{PROJECT}/prometheus", "alerts", "runs", "stuck runs", "backup", heartbeat):
        assert what in rows
    for what in ("drift of trigger-webapp", "drift of trigger-supervisor", "image of trigger-webapp/webapp"):
        assert not rows[what]["warning"], rows[what]
    assert "/healthcheck answers 200" in rows["webapp"]["detail"]
    assert "Everything works" in control.read("/opt/trigger/status/page/status.html")
    assert control.output("stat -c %a /opt/trigger/status/page/status.html") == "600"
    # And monitoring notices when it ends to do so.
    age = "time() - trigger_status_page_written_timestamp_seconds < on (host) trigger_status_page_age_max_seconds"
    assert eventually(lambda: monitored.query(age))


@pytest.mark.soak
def test_a_project_that_drifts_is_noticed(monitored: Monitored) -> None:
    """Each minute one project is compared, if there is a reason to."""
    control = monitored.control
    changes = 'trigger_project_changes{project="trigger-registry"}'
    assert eventually(lambda: monitored.query(f"{changes} == 0"), seconds=600)
    control.output("docker rm --force trigger-registry-trigger-registry-1")
    assert eventually(lambda: monitored.query(f"{changes} > 0"), seconds=600)
    control.output("docker compose --project-directory /opt/trigger/registry up --detach --wait")
    assert eventually(lambda: monitored.query(f"{changes} == 0"), seconds=600)


def test_strangers_are_refused(monitored: Monitored) -> None:
    control = monitored.control
    for path in ("/api/v1/query?query=up", "/metrics", "/-/healthy"):
        assert control.http(f"{PROMETHEUS}{path}")[0] == 401, path
        assert control.http(f"{PROMETHEUS}{path}", user="admin", password="admin")[0] == 401, path
    assert control.http(f"{PROMETHEUS}/api/v1/write", "POST")[0] == 401
    assert control.http(f"{PROMETHEUS}/api/v1/otlp/v1/metrics", "POST")[0] == 401
    for path in ("/api/search", "/api/dashboards/uid/x"):
        assert control.http(f"{GRAFANA}{path}")[0] == 401, path
        assert control.http(f"{GRAFANA}{path}", user="admin", password="admin")[0] == 401, path


def test_the_webapp_may_send_its_metrics(monitored: Monitored) -> None:
    """As far as there: Debian builds Prometheus without the receiver, and the stand-in of the webapp sends nothing."""
    environment = monitored.control.read("/opt/trigger/webapp/webapp.env")
    assert 'INTERNAL_OTEL_METRIC_EXPORTER_URL="http://prometheus:9090/api/v1/otlp/v1/metrics"' in environment
    prometheus = monitored.containers()["prometheus"]["NetworkSettings"]["Networks"]["trigger-front"]
    assert "prometheus" in prometheus["Aliases"]
    door = f"{prometheus['IPAddress']}:9090"
    assert monitored.control.connects([door], inside=WEBAPP) == {door: True}
    login = {"user": "worker", "password_of": "monitoring_write_password"}
    assert monitored.control.http(f"{PROMETHEUS}/-/healthy", **login)[0] == 200  # type: ignore[arg-type]


def test_nothing_is_published_beyond_the_host(monitored: Monitored) -> None:
    listeners = [row for row in monitored.control.facts()["listeners"] if row.endswith((":9095", ":3003"))]
    assert sorted(listeners) == ["127.0.0.1:3003", "127.0.0.1:9095"]


def test_task_containers_reach_none_of_it(monitored: Monitored) -> None:
    containers = monitored.containers()
    doors = [9090, 9093, 3000, 9100, 9187, 9121]
    addresses = {
        network["IPAddress"] for row in containers.values() for network in row["NetworkSettings"]["Networks"].values()
    }
    supervisor = monitored.control.facts()["containers"]["trigger-supervisor-supervisor-1"]
    addresses |= {row["IPAddress"] for row in supervisor["NetworkSettings"]["Networks"].values()}
    targets = [f"{address}:{door}" for address in sorted(addresses) for door in doors]
    targets += [f"{monitored.control.name}:{port}" for port in (9095, 3003)]
    assert monitored.control.reached_by_tasks(targets) == set()


def test_no_secret_is_seen(monitored: Monitored) -> None:
    secrets = json.loads(monitored.control.read("/opt/trigger/secrets.json"))
    values = [secrets["monitoring_password"], secrets["monitoring_write_password"], "hunter2"]
    values += [secrets["postgres_password"], secrets["redis_password"], secrets["clickhouse_password"]]
    compose = monitored.control.read("/opt/trigger/monitoring/compose.yml")
    seen = json.dumps(monitored.containers()) + compose + monitored.first.output + monitored.second.output
    assert [value[:4] for value in values if value in seen] == []
    lines = "\n".join(monitored.control.facts()["command_lines"])
    assert [value[:4] for value in values if value in lines] == []


def test_grafana_shows_the_dashboards(monitored: Monitored) -> None:
    login = {"user": "admin", "password_of": "monitoring_password"}
    status, body = monitored.control.http(f"{GRAFANA}/api/search", **login)
    assert status == 200
    root = Path(__file__).resolve().parents[3] / "roles/monitoring/files/dashboards"
    boards = [json.loads(path.read_text()) for path in root.glob("*.json")]
    assert {row["uid"] for row in json.loads(body)} == {board["uid"] for board in boards}
    for board in boards:
        assert monitored.control.http(f"{GRAFANA}/api/dashboards/uid/{board['uid']}", **login)[0] == 200
    through = f"{GRAFANA}/api/datasources/proxy/uid/trigger-prometheus/api/v1/query?query=up"
    status, body = monitored.control.http(through, **login)
    assert status == 200
    assert json.loads(body)["data"]["result"]


@pytest.fixture(scope="module")
def rotated(monitored: Monitored, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory) -> Rotated:
    assert monitored.second.code == 0, monitored.second.ending()
    return rotate(deployment, names=SECRET_LOGINS, values=VALUES, scratch=tmp_path_factory.mktemp("rotated"))


@pytest.mark.soak
def test_its_passwords_are_replaced_and_no_other_secret(rotated: Rotated) -> None:
    assert rotated.play.code == 0, rotated.play.ending()
    assert "Log in to Grafana with the new monitoring_password" in rotated.play.text
    assert rotated.replaced == set(SECRET_LOGINS)
    assert rotated.shown == set()


@pytest.mark.soak
@pytest.mark.parametrize("name", SECRET_LOGINS)
def test_the_new_password_opens_and_the_old_one_does_not(monitored: Monitored, rotated: Rotated, name: str) -> None:
    for url, user in SECRET_LOGINS[name]:
        # Grafana refuses a user for a while after some wrong passwords; this is the second one since its start at most.
        statuses = [
            monitored.control.http(url, user=user, password=each[name])[0] for each in (rotated.new, rotated.old)
        ]
        assert statuses == [200, 401], url


@pytest.mark.soak
def test_everything_has_the_new_passwords(monitored: Monitored, rotated: Rotated) -> None:
    """Prometheus logs in to itself, Grafana to Prometheus, and the webapp sends with the one of the senders."""
    assert monitored.jobs() == set(SERIES)
    through = f"{GRAFANA}/api/datasources/proxy/uid/trigger-prometheus/api/v1/query?query=up"
    assert monitored.control.http(through, user="admin", password_of="monitoring_password")[0] == 200
    login = base64.b64encode(f"worker:{rotated.new['monitoring_write_password']}".encode()).decode()
    sends = login in monitored.control.output("docker exec %s env", WEBAPP)
    assert sends, "the webapp has another password of the senders"


@pytest.mark.soak
def test_the_password_of_the_webapps_metrics_is_changed_by_site(
    monitored: Monitored, rotated: Rotated, deployment: Deployment, tmp_path: Path
) -> None:
    """It is a setting, so the playbook for generated secrets refuses it and names `site`."""
    assert rotated.play.code == 0
    new = "hunter2-of-the-webapp-anew"
    names = {**VALUES, "secrets_rotate_names": ["webapp_metrics_password"]}
    refused = deployment.play(playbook="selfhosted.trigger_dev.secrets_rotate", values=names, scratch=tmp_path)
    assert refused.code != 0
    assert "webapp_metrics_password, which the inventory sets" in refused.message
    done = deployment.play(values={**VALUES, "webapp_metrics_password": new}, scratch=tmp_path)
    assert done.code == 0, done.ending()
    front = monitored.control.facts()["containers"][WEBAPP]["NetworkSettings"]["Networks"]["trigger-front"]
    url = f"http://{front['IPAddress']}:3000/metrics"
    for password, status in ((new, 200), (VALUES["webapp_metrics_password"], 401)):
        assert monitored.control.http(url, headers={"Authorization": f"Bearer {password}"})[0] == status
    assert monitored.jobs() == set(SERIES)
    assert "hunter2" not in refused.output + done.output


@pytest.mark.soak
def test_one_of_two_supervisors_leaves_and_monitoring_stays(
    monitored: Monitored, deployment: Deployment, tmp_path: Path
) -> None:
    """Its network goes, which needs that Prometheus has left it. Last in this file: it asks for no state before."""
    control = monitored.control
    extra = f"{control.name}-eu"
    network = f"trigger-metrics-{extra.replace('.', '-')}"
    values = {**VALUES, "supervisor_instances": [{"name": control.name}, {"name": extra}]}
    added = deployment.play(values=values, scratch=tmp_path)
    assert added.code == 0, added.ending()
    assert network in monitored.containers()["prometheus"]["NetworkSettings"]["Networks"]
    removal = {**values, "worker_hosts": control.name, "worker_instance": extra}
    removed = deployment.play(playbook="selfhosted.trigger_dev.worker_remove", values=removal, scratch=tmp_path)
    assert removed.code == 0, removed.ending()
    assert network not in control.facts()["networks"]
    assert set(monitored.containers()["prometheus"]["NetworkSettings"]["Networks"]) >= {"trigger-metrics"}
    assert monitored.jobs() == set(SERIES)
    # The next run has nothing left to do.
    after = deployment.play(values=VALUES, scratch=tmp_path)
    assert after.code == 0, after.ending()
    assert after.changes == []
