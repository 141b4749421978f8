"""Files that belong to a job: artifacts by key, and directories that are kept in step."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile

from foundations import encoding, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator, List, Optional

SYNCED = "synced"
"""Folder of the kept directories, beside the artifacts."""
_PART = ".foundations-part-"
"""How names of files begin that are not whole yet."""
_numbers = itertools.count()


def save_artifact(filepath: str, key: "Optional[str]" = None) -> None:
    """Keep a copy of a file or directory with this job.

    Args:
        filepath: what to keep.
        key: its name among the job's artifacts; the base name when not given. The same key again replaces it.
    Raises:
        FileNotFoundError: there is nothing at the path. ValueError: the key is not a string, or empty.
    """
    path = os.fspath(filepath)
    if not os.path.exists(path):
        raise FileNotFoundError(2, "there is no such file or directory", path)
    base = os.path.basename(os.path.abspath(path))
    key = encoding.checked_key(base if key is None else key)
    if not key:
        raise ValueError("an artifact's key is not empty")
    folder = _folder("FOUNDATIONS_ARTIFACTS_DIR")
    if folder is None:
        return
    name = quoted(key)
    target = os.path.join(folder, name)
    if os.path.lexists(target):
        _say(f'Artifact "{key}" already exists - overwriting.')
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        size = _copy(path, target)
    except (OSError, RecursionError) as error:
        run.warn(f"the artifact {key!r} was not saved: {error}")
        return
    kind = "directory" if os.path.isdir(path) else "file"
    run.record(encoding.ARTIFACT, key, {"path": name, "name": base, "kind": kind, "size": size})


def quoted(key: str) -> str:
    """Return a key as a file name: letters, digits and ``._- `` as they are, all else as %XX."""
    data = key.encode("utf-8", "surrogatepass")
    plain = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_- "
    text = "".join(
        chr(byte) if byte in plain or (byte == 46 and place > 0) else f"%{byte:02X}" for place, byte in enumerate(data)
    )
    if len(text) <= 200:
        return text
    import hashlib

    return text[:160] + "%" + hashlib.sha256(data).hexdigest()[:32]


def _copy(source: str, target: str) -> int:
    """Put a copy in place at once, and return its bytes; what is left half done is removed."""
    temporary = os.path.join(os.path.dirname(target), f"{_PART}{os.getpid()}-{next(_numbers)}")
    own = os.path.realpath(os.path.dirname(target))

    def without_own(folder: str, names: "List[str]") -> "List[str]":
        return [name for name in names if os.path.realpath(os.path.join(folder, name)) == own]

    try:
        if os.path.isdir(source):
            if os.path.realpath(source) == own:
                raise OSError(22, "the artifacts cannot be an artifact", source)
            shutil.copytree(source, temporary, symlinks=True, ignore=without_own)
        else:
            shutil.copy2(source, temporary)
        _put_in_place(temporary, target)
    except BaseException:
        if os.path.isdir(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
        elif os.path.lexists(temporary):
            os.unlink(temporary)
        raise
    return _size(target)


def _put_in_place(temporary: str, target: str) -> None:
    if os.path.isdir(target) and not os.path.islink(target):
        shutil.rmtree(target)
    elif os.path.isdir(temporary) and os.path.lexists(target):
        os.unlink(target)
    os.replace(temporary, target)


def _size(path: str) -> int:
    if not os.path.isdir(path):
        return os.path.getsize(path)
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _folder(variable: str) -> "Optional[str]":
    """Return a folder of this job, or of the run that begins with it; None when nothing is tracked."""
    if run.job_id() is None:
        return None
    return os.environ.get(variable)


def _say(words: str) -> None:
    import sys

    print("Foundations WARNING: " + words, file=sys.stderr)


# --- directories kept in step -----------------------------------------------------------------------------------


class SyncableDirectory:
    """A directory of this process and a copy of it that stays with the job; ``str()`` gives its path."""

    def __init__(self, key: str, path: "Optional[str]", source_job_id: "Optional[str]") -> None:
        """Make the directory and bring what its source holds.

        Args:
            key: its name among the job's directories.
            path: where it is here; a new temporary one when not given.
            source_job_id: the job whose copy it begins with; this job when not given.
        Raises:
            FileNotFoundError: the other job has no such directory, here or where the client can fetch it from.
        """
        self.key = encoding.checked_key(key)
        if not key:
            raise ValueError("a directory's key is not empty")
        self._path = path or tempfile.mkdtemp(prefix="foundations-")
        os.makedirs(self._path, exist_ok=True)
        self._source = source_job_id
        self.download()

    def __str__(self) -> str:
        return self._path

    __fspath__ = __str__

    def upload(self) -> int:
        """Copy what is new or has changed to the job; return how many files."""
        target = self._remote(None)
        if target is None:
            return 0
        count = _bring(self._path, target, lambda mine, kept: mine != kept)
        run.record(encoding.ARTIFACT, f"{SYNCED}/{self.key}", {"path": None, "kind": SYNCED, "name": quoted(self.key)})
        return count

    def download(self) -> int:
        """Copy what is new or has changed from the source; return how many files."""
        source = self._remote(self._source)
        if (source is None or not os.path.isdir(source)) and self._source is not None:
            source = _fetched(self._source, f"{SYNCED}/{self.key}")
        if source is None or not os.path.isdir(source):
            return 0
        return _bring(source, self._path, lambda kept, mine: kept > mine)

    def _remote(self, job: "Optional[str]") -> "Optional[str]":
        folder = _folder("FOUNDATIONS_ARTIFACTS_DIR")
        if folder is None or (job is not None and not encoding.is_job_id(job)):
            return None  # only the client knows jobs by other names
        own = os.path.dirname(folder)
        if job is not None and job != os.environ.get("FOUNDATIONS_JOB_ID"):
            own = job_beside(own, job)
        return os.path.join(own, SYNCED, quoted(self.key))


def job_beside(own: str, job: str) -> str:
    """Return the folder of another job of this host."""
    if not encoding.is_job_id(job):
        raise ValueError(f"not a job id: {job!r}")
    if "FOUNDATIONS_RUN" not in os.environ:
        return _whole(os.path.dirname(own), job)
    runs = _whole(os.path.dirname(os.path.dirname(own)), job)
    attempts = sorted(os.listdir(runs), key=lambda name: (len(name), name)) if os.path.isdir(runs) else ["1"]
    return os.path.join(runs, attempts[-1])


def _whole(folder: str, job: str) -> str:
    """Return the folder of a job among others: its id may be cut short, to six characters or more."""
    exact = os.path.join(folder, job)
    if os.path.isdir(exact) or len(job) < 6 or not os.path.isdir(folder):
        return exact
    meant = [name for name in os.listdir(folder) if name.startswith(job)]
    return os.path.join(folder, meant[0]) if len(meant) == 1 else exact


def _fetched(job: str, key: str) -> str:
    """Return the path of another job's artifact, brought here by the client.

    Raises:
        FileNotFoundError: there is none, or no client.
    """
    try:
        from foundations import submission

        client = submission.client()
    except ImportError:
        raise FileNotFoundError(2, f"job {job} has no {key!r} on this host") from None
    try:
        return str(client.artifact(job, key)[1])
    except client.NotFoundError as error:
        raise FileNotFoundError(2, str(error)) from None


def _bring(source: str, target: str, is_other: "Callable[[int, int], bool]") -> int:
    """Copy the files that the target lacks, or has of another size or time; one that fails is warned of.

    Args:
        source: a folder.
        target: a folder, made when it is not there.
        is_other: says of the times of both, in ns, whether a file is to be copied.
    """
    count = 0
    for path in _files(source):
        try:
            count += _bring_one(os.path.join(source, path), os.path.join(target, path), is_other)
        except OSError as error:
            run.warn(f"{path} was not copied: {error}")
    return count


def _bring_one(source: str, target: str, is_other: "Callable[[int, int], bool]") -> bool:
    stats = os.stat(source)
    try:
        before = os.stat(target)
        if before.st_size == stats.st_size and not is_other(stats.st_mtime_ns, before.st_mtime_ns):
            return False
    except OSError:
        os.makedirs(os.path.dirname(target), exist_ok=True)
    temporary = os.path.join(os.path.dirname(target), f"{_PART}{os.getpid()}-{next(_numbers)}")
    try:
        shutil.copy2(source, temporary)
        os.replace(temporary, target)
    except BaseException:
        if os.path.lexists(temporary):
            os.unlink(temporary)
        raise
    return True


def _files(top: str) -> "Iterator[str]":
    for folder, _, names in os.walk(top):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not name.startswith(_PART):
                yield os.path.relpath(path, top)


def create_syncable_directory(
    key: str, directory_path: "Optional[str]" = None, source_job_id: "Optional[str]" = None
) -> SyncableDirectory:
    """Return a directory whose files ``upload()`` keeps with this job, and that begins with what is kept already.

    Args:
        key: its name.
        directory_path: where it is; a new temporary one when not given.
        source_job_id: another job whose directory it begins with; from another host, the client fetches it.
    Raises:
        FileNotFoundError: that job has none of this name.
    """
    return SyncableDirectory(key, directory_path, source_job_id)


def set_tensorboard_logdir(path: str) -> None:
    """Say where this job writes TensorBoard's event files: they are read as metrics while they grow.

    There may be several such folders. The job has the tag ``tf``.

    Raises:
        ValueError: the path is not a string.
    """
    run.set_tag("tf", encoding.checked_key(os.fspath(path)))
    records = os.environ.get("FOUNDATIONS_RECORDS_DIR", "")
    if run.OFF or not records:
        return
    folder, target = os.path.join(records, "tensorboard"), os.path.abspath(path)
    try:
        os.makedirs(folder, 0o700, exist_ok=True)
        linked = [os.readlink(os.path.join(folder, name)) for name in os.listdir(folder) if name.isdigit()]
        if target not in linked:
            _link_next(folder, target)
    except OSError as error:
        run.warn("event files are not read as metrics: %s" % error)


def _link_next(folder: str, target: str) -> None:
    """Make a link under the next free number; other processes of the job may do the same."""
    for number in range(1000):
        try:
            return os.symlink(target, os.path.join(folder, str(number)))
        except FileExistsError:
            continue
    raise OSError(28, "a job has at most 1000 folders of event files")
