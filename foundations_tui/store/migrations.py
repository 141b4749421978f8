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


@migrations()
def m003_tracking(db: Any) -> None:
    """Parameters, arguments and tags in one table by key; metrics as series of points with rollups; annotations."""
    for column, kind in (
        ("note", "TEXT NOT NULL DEFAULT ''"),
        ("starred", "INTEGER NOT NULL DEFAULT 0"),
        ("archived", "INTEGER NOT NULL DEFAULT 0"),
    ):
        db.execute(f"ALTER TABLE jobs ADD COLUMN {column} {kind}")
    db.execute(
        "CREATE TABLE facts (kind TEXT, key TEXT, job TEXT, value TEXT, number REAL, time REAL, writer TEXT,"
        " offset INTEGER, PRIMARY KEY (kind, key, job)) WITHOUT ROWID"
    )
    db.execute("CREATE INDEX idx_facts_job ON facts (job)")
    # In the order of ids, as facts and series are: looking up their values for all jobs then takes half the time.
    db.execute("CREATE INDEX idx_jobs_by_id ON jobs (job, attempt, created_at, state, host, project, archived)")
    db.execute(
        "CREATE TABLE annotations (job TEXT, key TEXT, value TEXT, time REAL, sent INTEGER NOT NULL DEFAULT 1,"
        " PRIMARY KEY (job, key)) WITHOUT ROWID"
    )
    db.execute("CREATE INDEX idx_annotations_unsent ON annotations (job) WHERE sent = 0")
    for kind, table in (("param", "params"), ("tag", "tags")):
        db.execute(
            f"INSERT INTO facts SELECT '{kind}', key, job, value, CASE WHEN json_valid(value) AND json_type(value)"
            f" IN ('integer', 'real') THEN json_extract(value, '$') END, time, '', 0 FROM {table}"
        )
        db.execute(f"DROP TABLE {table}")
    db.execute("CREATE TABLE writers (id INTEGER PRIMARY KEY, name TEXT UNIQUE)")
    db.execute(
        "CREATE TABLE series (key TEXT, job TEXT, attempt INTEGER, id INTEGER, first, last, min REAL, max REAL,"
        " count INTEGER, step INTEGER, time REAL, PRIMARY KEY (key, job, attempt)) WITHOUT ROWID"
    )
    db.execute("CREATE UNIQUE INDEX idx_series_id ON series (id)")
    db.execute("CREATE INDEX idx_series_job ON series (job, attempt)")
    db.execute(
        "CREATE TABLE points (series INTEGER, time REAL, writer INTEGER, offset INTEGER, step INTEGER, value,"
        " PRIMARY KEY (series, time, writer, offset)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE rollups (series INTEGER, bucket INTEGER, count INTEGER, min REAL, max REAL, last REAL,"
        " step_min INTEGER, step_max INTEGER, time_min REAL, time_max REAL, odd INTEGER,"
        " PRIMARY KEY (series, bucket)) WITHOUT ROWID"
    )
    db.execute("INSERT INTO writers (name) SELECT DISTINCT writer FROM metrics")
    db.execute(
        "INSERT INTO series (key, job, attempt, id, last, min, max, count, step, time)"
        " SELECT key, job, attempt, ROW_NUMBER() OVER (), last, min, max, count, step, time FROM metric_summary"
    )
    db.execute(
        "INSERT OR IGNORE INTO points SELECT s.id, m.time, w.id, m.offset, m.step, m.value FROM metrics m"
        " JOIN series s ON s.key = m.key AND s.job = m.job AND s.attempt = m.attempt"
        " JOIN writers w ON w.name = m.writer"
    )
    db.execute(
        "UPDATE series SET first = (SELECT value FROM points WHERE series = id ORDER BY time, writer, offset LIMIT 1)"
    )
    db.execute("DROP TABLE metrics")
    db.execute("DROP TABLE metric_summary")
    db.execute("PRAGMA user_version = 3")


@migrations()
def m004_trash(db: Any) -> None:
    """When a job was deleted; 0 while it was not."""
    db.execute("ALTER TABLE jobs ADD COLUMN trashed REAL NOT NULL DEFAULT 0")
    db.execute("CREATE INDEX idx_jobs_trashed ON jobs (trashed) WHERE trashed > 0")
    db.execute("DROP INDEX idx_jobs_by_id")
    db.execute(
        "CREATE INDEX idx_jobs_by_id ON jobs (job, attempt, created_at, state, host, project, archived, trashed)"
    )
    final = "'completed', 'failed', 'stopped', 'lost'"
    # What listings, and the app once a second, ask of a hundred thousand jobs.
    db.execute("CREATE INDEX idx_jobs_shown ON jobs (created_at) WHERE archived = 0 AND trashed = 0")
    db.execute("CREATE INDEX idx_jobs_state ON jobs (state, host)")
    db.execute(f"CREATE INDEX idx_jobs_ended ON jobs (noticed_at) WHERE state IN ({final})")
    db.execute("PRAGMA user_version = 4")


@migrations()
def m005_activity(db: Any) -> None:
    """When a job last wrote a byte or a record, how long it is usually quiet, and of what the app has told others."""
    db.execute("ALTER TABLE hosts ADD COLUMN sizes_at REAL")
    db.execute(
        "CREATE TABLE activity (job TEXT PRIMARY KEY, attempt INTEGER, at REAL, patience REAL, gaps TEXT) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE told (job TEXT, attempt INTEGER, event TEXT, PRIMARY KEY (job, attempt, event)) WITHOUT ROWID"
    )
    db.execute("PRAGMA user_version = 5")


@migrations()
def m006_log_times(db: Any) -> None:
    """How long a job's log was at each sample: when a line was written follows from it."""
    db.execute("ALTER TABLE job_samples ADD COLUMN log INTEGER")
    db.execute("PRAGMA user_version = 6")


@migrations()
def m007_event_files(db: Any) -> None:
    """Event files are streams: which of them were not read yet is asked after each pull."""
    db.execute("CREATE INDEX idx_event_files ON streams (host, job, attempt) WHERE name GLOB 'events/*'")
    db.execute("PRAGMA user_version = 7")


@migrations()
def m008_facts(db: Any) -> None:
    """What was recorded of each attempt, lists of packages once per hash; of which job a job is a rerun."""
    db.execute(
        "CREATE TABLE attempt_facts (job TEXT, attempt INTEGER, packages TEXT, facts TEXT,"
        " PRIMARY KEY (job, attempt)) WITHOUT ROWID"
    )
    db.execute("CREATE INDEX idx_attempt_facts_packages ON attempt_facts (packages)")
    db.execute("CREATE TABLE packages (hash TEXT PRIMARY KEY, list TEXT) WITHOUT ROWID")
    db.execute("ALTER TABLE jobs ADD COLUMN code_of TEXT NOT NULL DEFAULT ''")
    db.execute("CREATE INDEX idx_jobs_code_of ON jobs (code_of) WHERE code_of != ''")
    db.execute("PRAGMA user_version = 8")


@migrations()
def m009_locks(db: Any) -> None:
    """The locks that environments were built from, once per hash: nothing of an old job is resolved again."""
    db.execute("CREATE TABLE locks (hash TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")
    db.execute("PRAGMA user_version = 9")


@migrations()
def m010_services(db: Any) -> None:
    """The services of hosts; what jobs went through, and when; what hosts used, a line a minute after a day."""
    db.execute(
        "CREATE TABLE services (host TEXT, name TEXT, view TEXT, journal TEXT, PRIMARY KEY (host, name)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE connections (name TEXT, host TEXT, port INTEGER UNIQUE, PRIMARY KEY (name, host)) WITHOUT ROWID"
    )
    db.execute(
        "CREATE TABLE transitions (host TEXT, journal TEXT, seq INTEGER, time REAL, job TEXT, attempt INTEGER,"
        " state TEXT, reason_code TEXT, place INTEGER, PRIMARY KEY (host, journal, seq, state)) WITHOUT ROWID"
    )
    db.execute("CREATE INDEX idx_transitions_job ON transitions (job, time)")
    db.execute("CREATE INDEX idx_transitions_time ON transitions (time)")
    db.execute(
        "CREATE TABLE host_minutes (host TEXT, time REAL, count INTEGER, load TEXT, ram TEXT, disk_free TEXT,"
        " gpus TEXT, PRIMARY KEY (host, time)) WITHOUT ROWID"
    )
    db.execute("PRAGMA user_version = 10")


@migrations()
def m011_registry(db: Any) -> None:
    """What happened to the models of hosts, and how far that is known of each."""
    db.execute(
        "CREATE TABLE registry (host TEXT, journal TEXT, seq INTEGER, event TEXT, PRIMARY KEY (host, journal, seq))"
        " WITHOUT ROWID"
    )
    db.execute("CREATE TABLE registry_cursors (host TEXT PRIMARY KEY, journal TEXT, seq INTEGER) WITHOUT ROWID")
    db.execute("PRAGMA user_version = 11")


@migrations()
def m012_schedules(db: Any) -> None:
    """The schedules of hosts."""
    db.execute(
        "CREATE TABLE schedules (host TEXT, name TEXT, view TEXT, journal TEXT, PRIMARY KEY (host, name)) WITHOUT ROWID"
    )
    db.execute("PRAGMA user_version = 12")


@migrations()
def m013_stories(db: Any) -> None:
    """What jobs and sweeps tell of themselves; triggers count what has come since."""
    db.execute("CREATE TABLE stories (job TEXT PRIMARY KEY, attempt INTEGER, state TEXT, story TEXT) WITHOUT ROWID")
    db.execute("CREATE TABLE sweep_stories (group_name TEXT PRIMARY KEY, story TEXT) WITHOUT ROWID")
    db.execute("ALTER TABLE jobs ADD COLUMN story_due INTEGER NOT NULL DEFAULT 1")
    db.execute("CREATE INDEX idx_jobs_story_due ON jobs (created_at) WHERE story_due > 0")
    columns = "state, attempt, reason_code, reason, cause, starts_at, stop_requested_by, started_at"
    changed = " OR ".join(f"new.{column} IS NOT old.{column}" for column in columns.split(", "))
    db.execute(
        f"CREATE TRIGGER story_of_job AFTER UPDATE OF {columns} ON jobs WHEN {changed}"
        " BEGIN UPDATE jobs SET story_due = story_due + 1 WHERE job = new.job; END"
    )
    db.execute(
        "CREATE TRIGGER story_of_stream AFTER UPDATE OF offset ON streams WHEN new.offset != old.offset"
        " BEGIN UPDATE jobs SET story_due = story_due + 1 WHERE job = new.job; END"
    )
    db.execute("PRAGMA user_version = 13")


@migrations()
def m014_clocks(db: Any) -> None:
    """By how many seconds the clocks of hosts are ahead."""
    db.execute("ALTER TABLE hosts ADD COLUMN clock_offset REAL NOT NULL DEFAULT 0")
    db.execute("PRAGMA user_version = 14")


@migrations()
def m015_hours_and_replicas(db: Any) -> None:
    """What pages ask once a second: for how long GPUs were held in the last week, and which jobs were replicas."""
    db.execute(
        "CREATE INDEX idx_jobs_gpus ON jobs (ended_at, host, project, started_at, gpus)"
        " WHERE gpus != '[]' AND started_at IS NOT NULL"
    )
    is_replica = "CASE WHEN json_valid(spec) THEN json_extract(spec, '$.kind') END = 'service'"
    db.execute(f"CREATE INDEX idx_jobs_replicas ON jobs (host, created_at) WHERE {is_replica}")
    db.execute("PRAGMA user_version = 15")
