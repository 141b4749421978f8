"""Jobs written into a bundle: see ``bundle_format.py`` for what is where."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundations.records import ARTIFACT, HEADER, PARAM, TAG, USED, encode_metric, encode_pair
from foundations_tui import __version__
from foundations_tui.config import locations
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.jobs import ro_crate
from foundations_tui.jobs.bundle_format import CRATE, MANIFEST, README, VERSION, Bundle
from foundations_tui.jobs.checkout import lock_name
from foundations_tui.session import Session
from foundations_tui.snapshot import objects, shadows
from foundations_tui.store import queries
from foundations_tui.store.rows import JobRow, json_value
from foundations_tui.sync import code
from foundations_tui.text import humanize
from remote_agent.protocol.facts import packages_text

_KINDS = {"param": PARAM, "tag": TAG, "artifact": ARTIFACT, "used": USED}
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The moment of every file: the same jobs give the same bundle."""
Told = Callable[[str], None]


@dataclass(frozen=True)
class Written:
    """What a bundle has."""

    files: int
    bytes: int
    """Of the file."""
    left_out: list[str]
    """What of the jobs is not in it, and why, in words."""


def bundle(
    session: Session, rows: Sequence[JobRow], target: Path, with_env: bool, replace: bool, progress: Told
) -> Written:
    """Write jobs into a file; it is there whole, or not at all.

    Args:
        session: the client's.
        rows: the jobs, with details.
        target: the file.
        with_env: whether the values of their variables are written, too.
        replace: whether a file that is there is replaced.
        progress: takes what is being written.
    Raises:
        UsageError: a job has not ended, or something is in the way. NotFoundError: neither this client nor a host has
            the code. HostError: the hosts that may have it are out of reach.
    """
    for row in rows:
        if not row.is_final:
            raise UsageError(f"job {row.job[:6]} has not ended ({row.state})", f"foundations wait {row.job[:6]}")
    if os.path.lexists(target) and not replace:
        raise UsageError(f"{target} exists already", "--force replaces it")
    if not target.parent.is_dir():
        raise UsageError(f"there is no folder {target.parent}")
    code.keep_here(session, rows)
    temporary = target.with_name(f".{target.name}.{os.urandom(4).hex()}.part")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
            writer = _Writer(session, archive, with_env, progress)
            writer.write(rows)
        progress("checking what was written")
        with Bundle(temporary, most=1 << 60):
            pass  # what nobody could open is no bundle
        temporary.replace(target)
    except OSError as error:
        raise FoundationsError(f"{target} cannot be written: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
    return Written(len(writer.manifest), target.stat().st_size, writer.left_out)


class _Writer:
    def __init__(self, session: Session, archive: zipfile.ZipFile, with_env: bool, progress: Told) -> None:
        self._conn = session.store.conn
        self._archive = archive
        self._with_env = with_env
        self._progress = progress
        self.manifest: dict[str, str] = {}
        self.left_out: list[str] = []
        self._sizes: dict[str, int] = {}

    def write(self, rows: Sequence[JobRow]) -> None:
        for row in rows:
            self._progress(f"job {row.job[:6]}")
            self._write_job(row)
        for tree in dict.fromkeys(row.snapshot for row in rows if row.snapshot):
            self._write_code(tree)
        self._put(README, _readme(rows, self._with_env).encode())
        crate = ro_crate.metadata([self._crate_job(row) for row in rows], self._sizes)
        self._put(CRATE, json.dumps(crate, indent=2, ensure_ascii=False).encode("utf-8", "backslashreplace"))
        lines = [f"{digest}  {name}\n" for name, digest in sorted(self.manifest.items())]
        self._archive.writestr(_info(MANIFEST), "".join(lines).encode())

    # --- a job ------------------------------------------------------------------------------------------------

    def _write_job(self, row: JobRow) -> None:
        top = f"jobs/{row.job}"
        self._put(f"{top}/job.json", _json({"version": VERSION, "written_by": __version__, **self._job(row)}))
        sizes = {stream.attempt: stream.size for stream in queries.streams(self._conn, row.job) if stream.name == "log"}
        for attempt in range(1, (row.attempt or 0) + 1):
            place = f"{top}/attempts/{attempt}"
            log = locations.log_file(row.job, attempt)
            if log.exists():
                self._put_file(f"{place}/output.log", log)
            elif sizes.get(attempt, 0) == 0:
                self._put(f"{place}/output.log", b"")
            else:
                self.left_out.append(f"{row.job[:6]}: its log has not come (foundations sync)")
            self._put(f"{place}/records.jsonl", b"".join(self._records(row.job, attempt, attempt == row.attempt)))
            facts = queries.facts(self._conn, row.job, attempt)
            if facts is not None:
                told = facts.to_wire() if self._with_env else {**facts.to_wire(), "variables": None}
                self._put(f"{place}/facts.json", _json(json_value(told)))
                self._write_packages(facts.packages)
        self._write_lock(row)
        self._write_artifacts(row)

    def _job(self, row: JobRow) -> dict[str, Any]:
        spec = queries.whole_spec(self._conn, row.job)
        if not self._with_env:
            spec["env"], spec["from_shell"] = {}, []
        if spec["environment"].get("variables"):
            spec["environment"] = {**spec["environment"], "variables": {}}
        names = (
            "state",
            "reason_code",
            "reason",
            "exit_code",
            "signal",
            "attempt",
            "queued_at",
            "started_at",
            "ended_at",
        )
        view = {name: getattr(row, name) for name in names}
        view.update(
            spec=spec,
            seq=0,
            gpus=list(row.gpus),
            usage=row.usage.to_wire(),
            cause=row.cause.to_wire() if row.cause else {},
            attempts=[past.to_wire() for past in row.attempts],
            annotations=queries.annotated(self._conn, row.job),
        )
        return {"host": row.host, "view": json_value(view)}

    def _records(self, job: str, attempt: int, is_last: bool) -> Iterator[bytes]:
        yield HEADER
        for point in queries.metrics(self._conn, job, attempt, alone=True):
            yield encode_metric(point.time, point.key, point.step or 0, _finite(point.value))
        if is_last:
            for kind, key, value, moment in queries.said(self._conn, job):
                yield encode_pair(_KINDS[kind], moment, key, value)

    def _write_packages(self, digest: str | None) -> None:
        packages = queries.packages(self._conn, digest)
        name = f"packages/{digest}.json"
        if packages is not None and name not in self.manifest:
            self._put(name, packages_text(packages))

    def _write_lock(self, row: JobRow) -> None:
        environment = queries.spec(self._conn, row.job).get("environment") or {}
        digest = queries.lock_of(self._conn, row.job)
        text = queries.lock_text(self._conn, digest)
        name = f"environment/{digest}/{lock_name(environment)}"
        if text is not None and name not in self.manifest:
            self._put(name, text.encode())
        elif text is None and environment and not environment.get("image"):
            self.left_out.append(f"{row.job[:6]}: its lock has not come (foundations sync)")

    def _write_artifacts(self, row: JobRow) -> None:
        folder = locations.artifacts_folder(row.job)
        for key, told in row.artifacts.items():
            name = told.get("path") if isinstance(told, dict) else None
            path = folder / name if isinstance(name, str) and "/" not in name and name not in ("", ".", "..") else None
            if path is not None and path.is_file() and not path.is_symlink():
                self._put_file(f"jobs/{row.job}/artifacts/{path.name}", path)
            else:
                self.left_out.append(f"{row.job[:6]}: artifact {key} is not here (foundations get --artifacts)")

    # --- code -------------------------------------------------------------------------------------------------

    def _write_code(self, tree: str) -> None:
        self._progress(f"code {tree[:12]}")
        shadow = next(iter(shadows.holding(tree)))
        for file in objects.files(shadow, tree):
            try:
                name = f"code/{tree}/{file.path.decode('utf-8')}"
            except UnicodeDecodeError:
                raise FoundationsError(f"the name {file.path!r} is not valid UTF-8, so a zip cannot hold it") from None
            self._put_chunks(name, file.chunks, file.mode)

    def _crate_job(self, row: JobRow) -> ro_crate.CrateJob:
        files = [name for name in self.manifest if name.startswith(f"jobs/{row.job}/")]
        folder = f"environment/{queries.lock_of(self._conn, row.job)}/"
        locks = [name for name in self.manifest if name.startswith(folder)]
        return ro_crate.CrateJob(row, f"code/{row.snapshot}/" if row.snapshot else "", files, locks)

    # --- files ------------------------------------------------------------------------------------------------

    def _put(self, name: str, content: bytes) -> None:
        self._archive.writestr(_info(name), content)
        self.manifest[name] = hashlib.sha256(content).hexdigest()
        self._sizes[name] = len(content)

    def _put_file(self, name: str, path: Path) -> None:
        self._put_chunks(name, objects.file_chunks(path))

    def _put_chunks(self, name: str, chunks: Iterable[bytes], mode: str = "100644") -> None:
        digest, size = hashlib.sha256(), 0
        with self._archive.open(_info(name, mode), "w", force_zip64=True) as out:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                out.write(chunk)
        self.manifest[name] = digest.hexdigest()
        self._sizes[name] = size


def _info(name: str, mode: str = "100644") -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.create_system = 3  # Unix: modes are in the upper half
    kind = stat.S_IFLNK | 0o777 if mode == "120000" else stat.S_IFREG | (0o755 if mode == "100755" else 0o644)
    info.external_attr = kind << 16
    return info


def _finite(value: Any) -> Any:
    """Return a value as it was logged: the store keeps what is not finite by name."""
    return float(value) if value in ("NaN", "Infinity", "-Infinity") else value


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode() + b"\n"


def _readme(rows: Sequence[JobRow], with_env: bool) -> str:
    lines = [
        f"# {humanize.plural(len(rows), 'job')} of Foundations",
        "",
        f"Written on {time.strftime('%Y-%m-%d', time.gmtime())}.",
        "`foundations unbundle FILE` takes them into a store: `show`, `compare`, `checkout`, `rerun` work there.",
        "Without Foundations: `code/` has the code as it was submitted, `jobs/ID/job.json` the command and options,",
        "`environment/` the locked packages, `jobs/ID/attempts/N/` log and records.",
        "`sha256sum -c MANIFEST.sha256` checks the files.",
        "",
    ]
    lines += [] if with_env else ["The values of environment variables were left out.", ""]
    lines += ["| id | command | state | code |", "|---|---|---|---|"]
    for row in rows:
        command = humanize.command(row.command).replace("|", "\\|").replace("`", "'").replace("\n", " ")
        lines.append(f"| {row.job} | `{command[:200]}` | {row.state} | {row.snapshot[:12]} |")
    return "\n".join(lines) + "\n"
