"""The first thing that runs on a host: finds the root, takes in the agent if it is not there, and becomes it.

The client sends this file's text to ``python -I -S -E -c``, so it imports nothing of the package. Every line it
prints begins with the client's nonce: whatever a login shell printed before is passed over.
"""

import errno
import functools
import hashlib
import json
import os
import stat
import sys


@functools.lru_cache(None)
def machine_id() -> str:
    """Return an id of this machine: homes are shared over NFS, roots must not be."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path) as file:
                text = file.read().strip()
            if text:
                return hashlib.sha256(text.encode()).hexdigest()[:16]
        except OSError:
            pass
    return hashlib.sha256(os.uname().nodename.encode()).hexdigest()[:16]


def choose_root(given: str) -> str:
    """Return the agent's root: the one given, else the first of the usual places that can be written and synced.

    Raises:
        OSError: none of them can.
    """
    if given:
        root = os.path.expanduser(given)
        probe(root)
        return os.path.realpath(root)
    places = [os.path.expanduser("~/.foundations")]
    if os.environ.get("XDG_STATE_HOME"):
        places.append(os.path.join(os.environ["XDG_STATE_HOME"], "foundations"))
    places.append("/var/tmp/foundations-%d" % os.getuid())
    problems = []
    for place in places:
        root = os.path.join(place, machine_id())
        try:
            if place.startswith("/var/tmp/"):
                own_folder(place)
            probe(root)
            return os.path.realpath(root)
        except OSError as error:
            problems.append(str(error))
    raise OSError("no folder for the agent: " + "; ".join(problems))


def own_folder(path: str) -> None:
    """Make a folder where everybody may make one; refuse one that somebody else has made, or may change."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    stats = os.lstat(path)
    if stats.st_uid != os.getuid():
        raise OSError("%s belongs to uid %d, not to us (uid %d)" % (path, stats.st_uid, os.getuid()))
    if not stat.S_ISDIR(stats.st_mode) or stats.st_mode & 0o022:
        raise OSError("%s is a link, or others may write to it" % path)


def probe(root: str) -> None:
    """Make the root, private to its user, and check that a file in it can be written and synced.

    One that an agent has used already is taken as it is: a full disk must not keep anybody from looking and stopping.
    """
    os.makedirs(root, 0o700, exist_ok=True)
    owner = os.stat(root).st_uid
    if owner != os.getuid():
        raise OSError("%s belongs to uid %d, not to us (uid %d)" % (root, owner, os.getuid()))
    os.chmod(root, 0o700)
    if os.path.exists(os.path.join(root, "owner.json")):
        return
    path = os.path.join(root, ".probe-%d" % os.getpid())
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, b"x")
        os.fsync(fd)
    finally:
        os.close(fd)
        os.unlink(path)


def read_exactly(size: int) -> bytes:
    """Return exactly ``size`` bytes of standard input."""
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            raise EOFError("the connection ended while the agent was being sent")
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def receive_agent(folder: str) -> None:
    """Take the agent from standard input (8 digits of length, its SHA-256, its bytes) and put it in place at once."""
    length, digest = int(read_exactly(8)), read_exactly(64).decode()
    data = read_exactly(length)
    if hashlib.sha256(data).hexdigest() != digest:
        raise OSError("the agent arrived damaged")
    os.makedirs(folder, 0o700, exist_ok=True)
    try:
        store(folder, data)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        # The reserve of the root is there for this, too: without an agent nobody can look, stop and prune.
        os.unlink(os.path.join(os.path.dirname(os.path.dirname(folder)), "ballast"))
        store(folder, data)


def store(folder: str, data: bytes) -> None:
    """Put the agent's file in place at once."""
    temporary = os.path.join(folder, ".incoming-%d" % os.getpid())
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    except OSError:
        os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    os.replace(temporary, os.path.join(folder, "agent.pyz"))


def main() -> None:
    """Say what is here, take in what is missing, become ``agent.pyz proxy``."""
    order = json.loads(sys.argv[1])

    def say(**words: object) -> None:
        os.write(1, ("\n%s %s\n" % (order["nonce"], json.dumps(words))).encode())

    if not sys.platform.startswith("linux"):
        return say(error="the agent needs Linux; this host is %s" % sys.platform)
    try:
        root = choose_root(order["root"])
        folder = os.path.join(root, "agents", order["agent"])
        agent = os.path.join(folder, "agent.pyz")
        need = not os.path.exists(agent)
        say(need=need, root=root, python=sys.executable, version="%d.%d.%d" % sys.version_info[:3])
        if need:
            receive_agent(folder)
            say(stored=True)
    except (OSError, EOFError) as error:
        return say(error=str(error))
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-E", agent, "proxy", root])


if __name__ == "__main__":
    main()
