# SPDX-License-Identifier: MIT
"""Every metric that the program writes. Rules and dashboards are compared with this list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    text: str
    labels: tuple[str, ...] = ()
    counter: bool = False


OF_CONTAINER = ("project", "service", "container")
OF_WORKER = ("worker", "worker_group")

METRICS: Mapping[str, Metric] = {
    "trigger_info": Metric("Versions of the collection and of Trigger.dev.", ("collection_version", "trigger_version")),
    "trigger_metrics_last_run_timestamp_seconds": Metric("When these metrics were written."),
    "trigger_metrics_duration_seconds": Metric("How long that took."),
    "trigger_metrics_part_success": Metric("Whether a part of these metrics could be read.", ("part",)),
    "trigger_metrics_part_duration_seconds": Metric("How long a part took.", ("part",)),
    "trigger_host_expected": Metric("Hosts of the inventory.", ("expected",)),
    "trigger_container_running": Metric("Whether a container runs.", OF_CONTAINER),
    "trigger_container_healthy": Metric("Whether its health check succeeds, where it has one.", OF_CONTAINER),
    "trigger_container_start_time_seconds": Metric("When a container was started.", OF_CONTAINER),
    "trigger_container_restarts_total": Metric("How often the engine has restarted it.", OF_CONTAINER, counter=True),
    "trigger_container_oom_kills_total": Metric(
        "Processes that the kernel has killed since its start, because memory ran out.", OF_CONTAINER, counter=True
    ),
    "trigger_container_oom_killed": Metric("Whether it ended last because memory ran out.", OF_CONTAINER),
    "trigger_container_memory_bytes": Metric("Memory that a container uses, without what is cached.", OF_CONTAINER),
    "trigger_container_memory_limit_bytes": Metric("Memory that it may use, where that is limited.", OF_CONTAINER),
    "trigger_container_cpu_seconds_total": Metric("Time of processors it has used.", OF_CONTAINER, counter=True),
    "trigger_project_changes": Metric("What Compose would change of a project to make it as its files.", ("project",)),
    "trigger_task_containers": Metric("Containers of runs.", ("network",)),
    "trigger_certificate_expiry_timestamp_seconds": Metric("End of the validity of a certificate.", ("name", "kind")),
    "trigger_certificate_lifetime_seconds": Metric("How long it is valid from its beginning on.", ("name", "kind")),
    "trigger_clock_skew_seconds": Metric("Least that the clock differs from the control host's. Ahead is positive."),
    "trigger_clock_skew_max_seconds": Metric("How much it may differ."),
    "trigger_runs": Metric("Runs that have not ended, by status.", ("status",)),
    "trigger_runs_oldest_age_seconds": Metric("Longest time since such a run was changed.", ("status",)),
    "trigger_runs_ended_last_hour": Metric("Runs that have ended within the last hour.", ("status",)),
    "trigger_worker_heartbeat_timestamp_seconds": Metric("Last heartbeat of a worker.", OF_WORKER),
    "trigger_worker_heartbeat_interval_seconds": Metric("How often each worker of the inventory sends one.", OF_WORKER),
    "trigger_worker_paused": Metric("Whether a worker is to take no runs, and so sends no heartbeat.", ("worker",)),
    "trigger_replication_slot_present": Metric("Whether a slot that the webapp needs is there.", ("slot",)),
    "trigger_replication_slot_active": Metric("Whether a service reads from the slot.", ("slot",)),
    "trigger_replication_slot_lost": Metric("Whether the server has removed what was not read yet.", ("slot",)),
    "trigger_replication_slot_lag_bytes": Metric("Log that the server keeps for the slot.", ("slot",)),
    "trigger_replication_slot_lag_max_bytes": Metric("How much of it is too much."),
    "trigger_disk_used_max_ratio": Metric("Share of a disk above which it is full."),
    "trigger_runner_firewall_in_force": Metric("Whether task containers are kept from hosts and neighbours."),
    "trigger_socket_proxy_refusing": Metric("Whether the proxy refuses what it must.", ("container",)),
    "trigger_images_cleaned_timestamp_seconds": Metric("When unused task images were last removed."),
    "trigger_images_cleaning_expected_since_timestamp_seconds": Metric("Since when a timer removes them."),
    "trigger_images_cleaned_age_max_seconds": Metric("Age at which that is too long ago, by the schedule."),
    "trigger_backup_expected_since_timestamp_seconds": Metric("Since when a timer makes backups."),
    "trigger_backup_age_max_seconds": Metric("Age at which the last backup is too old."),
    "trigger_backup_last_success_timestamp_seconds": Metric("Last backup."),
    "trigger_backup_last_verified_timestamp_seconds": Metric("Last backup test that succeeded."),
    "trigger_backup_test_expected_since_timestamp_seconds": Metric("Since when a timer tests backups."),
    "trigger_backup_test_age_max_seconds": Metric("Age at which the last test is too old, by the schedule."),
    "trigger_backup_failed": Metric("Whether the last attempt failed.", ("kind",)),
    "trigger_backup_bytes": Metric("Size of the last backup."),
    "trigger_backup_seconds": Metric("How long the last backup took."),
    "trigger_status_page_expected_since_timestamp_seconds": Metric("Since when a timer writes the page of the status."),
    "trigger_status_page_written_timestamp_seconds": Metric("When it was last written, if it is there."),
    "trigger_status_page_age_max_seconds": Metric("Age at which it is too old, by the schedule."),
}
