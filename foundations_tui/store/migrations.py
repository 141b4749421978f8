"""The store's schema, step by step. A step that was released never changes; a change is a new step."""

from __future__ import annotations

from typing import Any

from sqlite_utils import Migrations

migrations = Migrations("foundations")


@migrations()
def m001_spine(db: Any) -> None:
    """Hosts, jobs, and the streams of jobs with what their records say."""
    db["meta"].create({"key": str, "value": str}, pk="key")
    db["hosts"].create(
        {
            "name": str,
            "journal": str,
            "seq": int,
            "resources": str,
            "problems": str,
            "python": str,
            "agent_version": str,
            "last_contact": float,
            "error": str,
            "unreachable_since": float,
        },
        pk="name",
        not_null={"seq"},
        defaults={"seq": 0},
    )
    db["jobs"].create(
        {
            "job": str,
            "host": str,
            "journal": str,
            "project": str,
            "name": str,
            "owner": str,
            "client": str,
            "state": str,
            "reason_code": str,
            "reason": str,
            "exit_code": int,
            "attempt": int,
            "command": str,
            "spec": str,
            "snapshot": str,
            "cpus": int,
            "gpus_requested": int,
            "gpus": str,
            "created_at": float,
            "queued_at": float,
            "started_at": float,
            "ended_at": float,
            "stop_requested_by": str,
            "usage": str,
            "submitter": str,
            "complete": int,
            "noticed_at": float,
        },
        pk="job",
        not_null={"host", "state", "attempt", "complete"},
        defaults={"attempt": 0, "complete": 0},
    )
    db["jobs"].create_index(["created_at"])
    db["jobs"].create_index(["host", "state"])
    db["jobs"].create_index(["project", "created_at"])
    db["jobs"].create_index(["name"])
    db["streams"].create(
        {"job": str, "attempt": int, "name": str, "offset": int, "size": int, "host": str},
        pk=("job", "attempt", "name"),
        not_null={"offset", "size"},
        defaults={"offset": 0, "size": 0},
    )
    db.execute(
        "CREATE TABLE metrics (job TEXT, attempt INTEGER, writer TEXT, offset INTEGER, key TEXT, step INTEGER, value,"
        " time REAL, PRIMARY KEY (job, attempt, writer, offset)) WITHOUT ROWID"
    )
    db.execute("CREATE INDEX idx_metrics_key ON metrics (job, attempt, key, step)")
    db.execute(
        "CREATE TABLE metric_summary (job TEXT, attempt INTEGER, key TEXT, last, min REAL, max REAL, count INTEGER,"
        " step INTEGER, time REAL, PRIMARY KEY (job, attempt, key)) WITHOUT ROWID"
    )
    db["params"].create({"job": str, "key": str, "value": str, "time": float}, pk=("job", "key"))
    db["tags"].create({"job": str, "key": str, "value": str, "time": float}, pk=("job", "key"))
    db["shipped"].create({"journal": str, "folder": str, "tree": str}, pk=("journal", "folder"))
    db.execute("PRAGMA user_version = 1")


@migrations()
def m002_agent(db: Any) -> None:
    """What a scheduler knows of a job, its attempts, what it and its host use over time."""
    for column, kind in (
        ("signal", "TEXT"),
        ("cause", "TEXT"),
        ("priority", "INTEGER NOT NULL DEFAULT 0"),
        ("rank", "REAL NOT NULL DEFAULT 0"),
        ("group_name", "TEXT NOT NULL DEFAULT ''"),
        ("attempts", "TEXT NOT NULL DEFAULT '[]'"),
        ("pruned", "INTEGER NOT NULL DEFAULT 0"),
        ("starts_at", "REAL"),
        ("outputs", "TEXT"),
        ("acknowledged", "INTEGER NOT NULL DEFAULT 0"),
    ):
        db.execute(f"ALTER TABLE jobs ADD COLUMN {column} {kind}")
    db.execute("ALTER TABLE hosts ADD COLUMN samples_offset INTEGER NOT NULL DEFAULT 0")
    db.execute("CREATE INDEX idx_jobs_group ON jobs (group_name) WHERE group_name != ''")
    db.execute("CREATE INDEX idx_jobs_unacknowledged ON jobs (host) WHERE acknowledged = 0")
    db.execute(
        "CREATE TABLE job_samples (job TEXT, attempt INTEGER, offset INTEGER, time REAL, cpus REAL, ram INTEGER,"
        " gpu INTEGER, gpu_memory INTEGER, PRIMARY KEY (job, attempt, offset)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE host_samples (host TEXT, time REAL, load REAL, ram INTEGER, disk_free INTEGER, gpus TEXT,"
        " PRIMARY KEY (host, time)) WITHOUT ROWID"
    )
    db.execute("PRAGMA user_version = 2")
