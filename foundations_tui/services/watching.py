"""What a service was asked, as far as it keeps that and it has come here; and whether it is like the training data."""

from __future__ import annotations

import time
from pathlib import Path

from foundations.contracts import DataContract, Report
from foundations.production import read_requests
from foundations_tui.config import locations
from foundations_tui.errors import NotFoundError, UsageError
from foundations_tui.session import Session
from foundations_tui.store import models, queries, services
from foundations_tui.store.services import ServiceRow
from foundations_tui.sync import outputs, pull
from remote_agent.protocol.wire import JsonTable

CONTRACTS = "contracts/"
"""Begins the keys of artifacts that are contracts."""


def bring(session: Session, row: ServiceRow) -> None:
    """Bring what replicas of a service have written of requests.

    Raises:
        HostError: its host is out of reach.
    """
    jobs = {job for job, _, _ in services.requests_of_service(session.store.conn, row.name, row.host)}
    pull.catch_up(session, row.host, jobs=jobs | {replica.job for replica in row.view.running}, logs=False)


def request_files(session: Session, name: str, host: str = "") -> list[Path]:
    """Return the files of a service's request log that are here.

    Args:
        session: the client's.
        name: of the service.
        host: where it is; "" for wherever.
    """
    streams = services.requests_of_service(session.store.conn, name, host)
    paths = [locations.stream_file(*stream) for stream in streams]
    return [path for path in paths if path.exists()]


def requests(session: Session, row: ServiceRow, since: float = 0.0) -> list[JsonTable]:
    """Return the requests that are known here, oldest first.

    Args:
        session: the client's.
        row: the service.
        since: only those of the last so many seconds; 0 for all.
    Raises:
        NotFoundError: none is.
    """
    begin = time.time() - since if since else 0.0
    files = request_files(session, row.name, row.host)
    found = [record for path in files for record in read_requests(str(path)) if record["time"] >= begin]
    if not found:
        raise NotFoundError(
            f"no request of service {row.name} was written down" + (" in that time" if files and since else ""),
            "[model.log] sample = 0.1 in the project's foundations.toml keeps a tenth of them (docs/models.md)",
        )
    return sorted(found, key=lambda record: record["time"])


def contract_of(session: Session, row: ServiceRow, given: str = "") -> DataContract:
    """Return the contract that holds for a service.

    Args:
        session: the client's.
        row: the service.
        given: a file, or the name of one that the version's job has kept; "" for the one that it has.
    Raises:
        NotFoundError: there is none. UsageError: there are several, or the file is none. HostError: the host of the job
            is out of reach.
    """
    path = Path(given)
    if not (given and path.is_file()):
        path = _kept(session, row, given)
    try:
        return DataContract.load(str(path))
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None


def _kept(session: Session, row: ServiceRow, name: str) -> Path:
    """Return the file of a contract that the job of the served version has kept."""
    if not row.view.model:
        raise UsageError(f"service {row.name} serves no model: --contract names a file")
    version = models.model(session.store.conn, row.view.model).version(str(row.view.version))
    job = queries.job(session.store.conn, version.version.job)
    keys = [key for key in job.artifacts if key.startswith(CONTRACTS) and (not name or key == CONTRACTS + name)]
    if not keys:
        what = f"contract {name!r}" if name else "contract"
        raise NotFoundError(
            f"job {job.job[:6]} has kept no {what}",
            "foundations.keep_data_contract('NAME', data) in the training keeps one; --contract names a file",
        )
    if len(keys) > 1:
        names = ", ".join(key.removeprefix(CONTRACTS) for key in sorted(keys))
        raise UsageError(f"job {job.job[:6]} has kept several contracts: {names}", "--contract names one")
    return outputs.artifact(session, job, keys[0])


def check(session: Session, row: ServiceRow, contract: DataContract, since: float = 0.0) -> Report:
    """Return whether what a service was asked is like the data of a contract.

    Raises:
        NotFoundError: no request is known. UsageError: the requests make no table.
    """
    found = requests(session, row, since)
    try:
        return contract.validate(found, f"the last {since:g} s" if since else None)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the requests cannot be compared with the contract: {error}") from None
