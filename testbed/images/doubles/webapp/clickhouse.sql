-- SPDX-License-Identifier: MIT
-- One statement per paragraph. The database's name is fixed; goose's own table lives in the database of the URL.
CREATE DATABASE IF NOT EXISTS trigger_dev;

CREATE TABLE IF NOT EXISTS trigger_dev.task_runs_v2 (
    environment_id String, organization_id String, project_id String, run_id String,
    environment_type LowCardinality(String), friendly_id String, attempt UInt8 DEFAULT 1,
    engine LowCardinality(String), status LowCardinality(String), worker_queue String, queue String,
    task_identifier String, output JSON, error JSON,
    created_at DateTime64(6), updated_at DateTime64(6), started_at Nullable(DateTime64(6)),
    executed_at Nullable(DateTime64(6)), completed_at Nullable(DateTime64(6)),
    _version UInt64, _is_deleted UInt8 DEFAULT 0
) ENGINE = ReplacingMergeTree(_version, _is_deleted)
PARTITION BY toYYYYMM(created_at)
ORDER BY (toDate(created_at), environment_id, task_identifier, created_at, run_id);

CREATE TABLE IF NOT EXISTS goose_db_version (
    version_id Int64, is_applied UInt8, date Date DEFAULT now(), tstamp DateTime DEFAULT now()
) ENGINE = MergeTree() ORDER BY (date);

INSERT INTO goose_db_version (version_id, is_applied) SELECT 11, 1 WHERE (SELECT count() FROM goose_db_version) = 0;
