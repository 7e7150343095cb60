# SPDX-License-Identifier: MIT
"""What the roles render where the switches of the bundled services stand the other way."""

from __future__ import annotations

from typing import Any

Projects = dict[str, dict[str, Any]]


def test_the_console_listens_on_the_loopback_alone(chosen: Projects) -> None:
    ports = chosen["trigger-webapp"]["compose"]["services"]["trigger-minio"]["ports"]
    assert ports == ["0.0.0.0:9000:9000", "127.0.0.1:9101:9001"]


def test_clickhouse_may_open_more_files(chosen: Projects, projects: Projects) -> None:
    rows = [each["trigger-webapp"]["compose"]["services"]["trigger-clickhouse"] for each in (chosen, projects)]
    assert rows[0]["ulimits"] == {"nofile": 262144}
    assert "ulimits" not in rows[1], "more than the engine may give, on some hosts"


def test_a_number_may_be_written_as_text(chosen: Projects, projects: Projects) -> None:
    given = [each["trigger-webapp"]["environments"]["webapp"] for each in (chosen, projects)]
    assert str(given[0]["INTERNAL_OTEL_METRIC_EXPORTER_INTERVAL_MS"]) == "30000"
    assert str(given[1]["INTERNAL_OTEL_METRIC_EXPORTER_INTERVAL_MS"]).endswith("000")


def test_without_electric_nobody_waits_for_it(chosen: Projects) -> None:
    project = chosen["trigger-webapp"]["compose"]
    assert "electric" not in project["services"]
    assert "electric" not in project["services"]["webapp"]["depends_on"]
    assert "trigger-realtime" not in project["networks"]
    assert not chosen["trigger-webapp"]["environments"]["webapp"]["ELECTRIC_ORIGIN"]


def test_replication_and_telemetry(chosen: Projects) -> None:
    given = chosen["trigger-webapp"]["environments"]["webapp"]
    assert given["RUN_REPLICATION_ENABLED"] == "0"
    assert given["TRIGGER_TELEMETRY_DISABLED"] is None
    assert given["POSTHOG_PROJECT_KEY"] is None


def test_one_switch_means_all_that_calls_home(projects: Projects, chosen: Projects) -> None:
    """Off by default; each name is one that the program of that service reads."""
    switches: dict[tuple[str, str], tuple[Any, Any]] = {
        ("webapp", "TRIGGER_TELEMETRY_DISABLED"): ("1", None),
        ("webapp", "POSTHOG_PROJECT_KEY"): ("", None),
        ("webapp", "CHECKPOINT_DISABLE"): ("1", None),
        ("trigger-minio", "MINIO_UPDATE"): ("off", None),
        ("electric", "ELECTRIC_USAGE_REPORTING"): ("false", "true"),
    }
    for (service, name), (off, on) in switches.items():
        assert projects["trigger-webapp"]["environments"][service][name] == off, name
        assert chosen["trigger-webapp"]["environments"][service][name] == on, name


def test_authorities_are_not_for_a_database_without_tls(chosen: Projects) -> None:
    given = chosen["trigger-webapp"]["environments"]["webapp"]
    assert given["NODE_EXTRA_CA_CERTS"] == "/etc/trigger/ca.pem"
    assert "sslrootcert" not in given["DATABASE_URL"]
