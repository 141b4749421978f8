"""What a server asks at login goes through ``Asker``: passwords, one-time codes; and its last words."""

from __future__ import annotations

import gc
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from foundations_tui.config.hosts import load_hosts
from foundations_tui.errors import HostRefused, HostUnreachable
from foundations_tui.hosts import jumping, ssh
from foundations_tui.hosts.asking import NOBODY, Asker, LockedKey, ServerPrompt
from foundations_tui.session import Session
from tests.support.client import FOUNDATIONS, Client, wait_until
from tests.support.screen import Tmux
from tests.support.sshd import Sshd, make_key

PASSWORD = "open sesame"
needs_root = pytest.mark.skipif(os.getuid() != 0, reason="sshd asks PAM for a password only as root")


@pytest.fixture
def account() -> Iterator[str]:
    """An account with a password, gone afterwards."""
    name = f"fnd{os.getpid()}"
    subprocess.run(["useradd", "-m", "-s", "/bin/sh", name], check=True)
    subprocess.run(["chpasswd"], input=f"{name}:{PASSWORD}\n", text=True, check=True)
    yield name
    subprocess.run(["userdel", "-rf", name], check=True, stderr=subprocess.DEVNULL)


def asking_sshd(tmp_path: Path, account: str, *lines: str) -> Sshd:
    """A server that lets the account in by PAM, too; its keys are where the account may read them."""
    server = Sshd(tmp_path / "asking")
    server.user = account
    home = Path(pwd.getpwnam(account).pw_dir)
    (home / ".ssh").mkdir(mode=0o700)
    shutil.copy(server.folder / "authorized_keys", home / ".ssh" / "authorized_keys")
    for path in (home / ".ssh", home / ".ssh" / "authorized_keys"):
        shutil.chown(path, account)
    server.configure("UsePAM yes", "AuthorizedKeysFile .ssh/authorized_keys", *lines)
    server.start()
    return server


class Answers:
    """Answers what is asked, and remembers it."""

    def __init__(self, *answers: str | None) -> None:
        self.asked: list[ServerPrompt] = []
        self._answers = list(answers)

    @property
    def asker(self) -> Asker:
        return Asker(answer=self._answer)

    def _answer(self, prompt: ServerPrompt) -> str | None:
        self.asked.append(prompt)
        return self._answers.pop(0) if self._answers else None


def connect(asker: Asker) -> None:
    ssh.SshTransport(load_hosts().host("box"), asker, 10).close()


@pytest.mark.rest
@needs_root
@pytest.mark.parametrize(
    "lines",
    [
        ("AuthenticationMethods publickey,keyboard-interactive", "KbdInteractiveAuthentication yes"),
        ("AuthenticationMethods keyboard-interactive", "KbdInteractiveAuthentication yes"),
        ("AuthenticationMethods publickey,password", "PasswordAuthentication yes"),
        ("AuthenticationMethods password", "PasswordAuthentication yes"),
    ],
)
def test_what_a_server_asks_is_asked_with_host_and_user(
    client: Client, tmp_path: Path, account: str, monkeypatch: pytest.MonkeyPatch, lines: tuple[str, ...]
) -> None:
    monkeypatch.setenv("FOUNDATIONS_HOME", str(client.home))
    server = asking_sshd(tmp_path, account, *lines)
    try:
        client.add_host("box", server)
        answers = Answers("wrong", PASSWORD)
        connect(answers.asker)
        assert [(p.host, p.user, p.address, p.attempt) for p in answers.asked] == [
            ("box", account, "127.0.0.1", 1),
            ("box", account, "127.0.0.1", 2),
        ]
        with pytest.raises(HostRefused, match="nobody has answered") as caught:
            connect(NOBODY)
        took = "publickey" in lines[0]
        assert ("took our key" in str(caught.value)) == took and "does not accept" not in str(caught.value)
        with pytest.raises(HostRefused, match="nobody has answered|does not let us in"):
            connect(Answers(None).asker)
        with pytest.raises(HostRefused, match="does not let us in"):
            connect(Answers("a", "b", "c", "d").asker)
        refused = client.run("hosts", "test", "box", code=4, timeout=60)
        assert "nobody has answered" in refused.stderr and account in refused.stderr
    finally:
        server.cut()


@needs_root
def test_a_password_typed_on_a_terminal_is_not_echoed(client: Client, tmp_path: Path, account: str) -> None:
    server = asking_sshd(
        tmp_path,
        account,
        "AuthenticationMethods publickey,keyboard-interactive",
        "KbdInteractiveAuthentication yes",
    )
    try:
        client.add_host("box", server, root=f"/home/{account}/root")
        tmux = Tmux(tmp_path, 100, 30)
        try:
            tmux.start([*FOUNDATIONS, "hosts", "test", "box"], client.env, client.project)
            shown = tmux.until(lambda shown: "asks: Password" in shown)
            assert "box" in shown and account in shown
            tmux.send(PASSWORD, "Enter")
            assert tmux.exit_code() == 0
            assert PASSWORD not in tmux.shown() and "box works" in tmux.shown()
        finally:
            tmux.close()
    finally:
        server.cut()


def test_only_keys_and_ours_is_not_taken(client: Client, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    client.add_host("box", sshd)
    make_key(client.home / "another")
    text = (client.home / "hosts.toml").read_text().replace(str(sshd.identity), str(client.home / "another"))
    (client.home / "hosts.toml").write_text(text)
    said = client.run("hosts", "test", "box", code=4).stderr
    assert "does not accept our keys" in said and f"ssh-copy-id -p {sshd.port}" in said, "the named cure works"


# --- sessions ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("most", [1, 2])
def test_a_server_that_gives_few_sessions(client: Client, tmp_path: Path, most: int) -> None:
    server = Sshd(tmp_path / "few")
    server.configure(f"MaxSessions {most}")
    server.start()
    try:
        client.add_host("box", server)
        (client.project / "large").write_bytes(os.urandom(3_000_000))
        job = client.submit("--host", "box", "--", "sh", "-c", "wc -c < large; echo 1 > made", timeout=60)
        client.run("wait", job)
        assert client.run("logs", job).stdout == "3000000\n"
        client.run("get", job, "--dest", "out", timeout=60)
        assert (client.project / "out" / "made").read_text() == "1\n"
        assert client.run("exec", job, "--", "cat", "made", timeout=60).stdout == "1\n"
    finally:
        server.cut()


def test_a_server_that_gives_none(client: Client, tmp_path: Path) -> None:
    server = Sshd(tmp_path / "none")
    server.configure("MaxSessions 0")
    server.start()
    try:
        client.add_host("box", server)
        said = client.run("hosts", "test", "box", code=4, timeout=40).stderr
        assert "MaxSessions" in said and "Exception" not in said
    finally:
        server.cut()


# --- last words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("echo This account is for port forwarding only", "for port forwarding only"),
        ("echo no access before your training >&2; exit 3", "no access before your training"),
        ("sleep 0.3; echo Your allocation has expired; exit 1", "allocation has expired"),
        ("/usr/sbin/nologin", "not available"),
    ],
)
def test_what_a_server_says_before_it_ends_is_quoted(client: Client, tmp_path: Path, command: str, words: str) -> None:
    server = Sshd(tmp_path / "short")
    server.configure(f"ForceCommand {command}")
    server.start()
    try:
        client.add_host("box", server)
        said = client.run("hosts", "test", "box", code=4, timeout=40).stderr
        assert words in said and "the login shell ended" in said
    finally:
        server.cut()


# --- jumps ------------------------------------------------------------------------------------------------------


def through(sshd: Sshd, jump: Sshd, home: Path, **options: str) -> None:
    """Let the client go through a jump host, by an ssh configuration of its own."""
    (home / ".ssh").mkdir(parents=True, mode=0o700)
    lines = {"IdentityFile": str(jump.identity), "IdentitiesOnly": "yes", "UserKnownHostsFile": str(home / "known")}
    lines.update(options)
    shown = "\n".join(f"  {key} {value}" for key, value in lines.items())
    (home / ".ssh" / "config").write_text(
        f"Host jump\n  HostName 127.0.0.1\n  Port {jump.port}\n{shown}\nHost box\n  HostName 127.0.0.1\n"
        f"  Port {sshd.port}\n  ProxyJump jump\n"
    )


@pytest.fixture
def jump(tmp_path: Path) -> Iterator[Sshd]:
    server = Sshd(tmp_path / "jump")
    server.start()
    yield server
    server.cut()


def ssh_in(folder: Path, home: Path) -> str:
    """Make an ssh that reads the configuration of a home: OpenSSH takes the home from the account."""
    folder.mkdir()
    program = folder / "ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {home}/.ssh/config "$@"\n')
    program.chmod(0o755)
    return f"{folder}:{os.environ['PATH']}"


@pytest.mark.parametrize("what", ["unknown key", "down", "refuses", "target down"])
def test_what_goes_wrong_at_a_jump_is_said_in_sshs_words(
    client: Client, own_sshd: Sshd, jump: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    home = tmp_path / "home"
    through(own_sshd, jump, home)
    if what != "unknown key":
        (home / "known").write_text(jump.known_hosts_line)
    client.add_host("box", own_sshd)
    text = (client.home / "hosts.toml").read_text().replace(own_sshd.address, "box")
    (client.home / "hosts.toml").write_text(text)
    client.env["PATH"] = ssh_in(tmp_path / "bin", home)
    expected = "jump host jump"
    if what == "down":
        jump.cut()
        expected = "Connection refused"
    elif what == "refuses":
        (jump.folder / "authorized_keys").write_text("")
        expected = "Permission denied"
    elif what == "target down":
        own_sshd.cut()
        expected = "refused"
    else:
        expected = "verification failed"
    said = client.run("hosts", "test", "box", code=4, timeout=60).stderr
    assert expected.lower() in said.lower() and "jump host jump" in said, said
    assert "banner" not in said


def test_a_jump_that_works_and_asks_for_a_passphrase(
    client: Client, sshd: Sshd, jump: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.sshd import lock_key

    home = tmp_path / "home"
    through(sshd, jump, home)
    (home / "known").write_text(jump.known_hosts_line)
    client.add_host("box", sshd)
    text = (client.home / "hosts.toml").read_text().replace(sshd.address, "box")
    (client.home / "hosts.toml").write_text(text)
    client.env["PATH"] = ssh_in(tmp_path / "bin", home)
    client.run("hosts", "test", "box", timeout=60)
    lock_key(jump.identity, "sesame")
    monkeypatch.setenv("FOUNDATIONS_HOME", str(client.home))
    monkeypatch.setenv("PATH", client.env["PATH"])
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    asked: list[str] = []

    def passphrase(key: object) -> str:
        asked.append(str(key))
        return "sesame"

    session = Session(asker=Asker(passphrase=passphrase))
    session.agent("box")
    session.close()
    assert asked and "user_key" in asked[0]
    with pytest.raises(HostUnreachable, match="jump host jump"):
        Session().agent("box")


@pytest.fixture
def hop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., jumping.Jump]:
    """Makes hops by an ssh that does nothing."""
    program = tmp_path / "ssh"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return lambda asker=NOBODY: jumping.Jump("box", "127.0.0.1", 22, "me@gate", asker)


def test_what_a_jump_host_asks_is_taken_for_no_question_of_sshs_own(
    tmp_path: Path, hop: Callable[..., jumping.Jump]
) -> None:
    from tests.support.sshd import lock_key

    make_key(tmp_path / "key")
    lock_key(tmp_path / "key", "sesame")
    asked: list[object] = []

    def passphrase(key: LockedKey) -> str:
        asked.append(key.attempt)
        return "sesame"

    def answer(prompt: ServerPrompt) -> str | None:
        asked.append(prompt.text)
        return None

    jump = hop(Asker(passphrase=passphrase, answer=answer))
    its = f"Enter passphrase for key '{tmp_path / 'key'}': "
    assert [jump._answer(its), jump._answer(its)] == ["sesame", "sesame"] and asked == [1, 2]  # the first was wrong
    asked.clear()
    theirs = [f"(me@gate) {its}", f"Hello\n{its}", f"Enter passphrase for key '{tmp_path / 'none'}': ", its + "?"]
    theirs.append("(me@gate) The authenticity of host 'x' can't be established. RSA key fingerprint is SHA256:x. ")
    assert [jump._answer(question) for question in theirs] == [None] * len(theirs)
    assert asked == [question.strip() for question in theirs]
    jump.close()


def test_a_hop_that_ends_or_never_begins_leaves_nothing(
    tmp_path: Path, hop: Callable[..., jumping.Jump], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []
    make = tempfile.mkdtemp

    def noted(**options: str) -> str:
        made.append(Path(make(**options)))
        return str(made[-1])

    monkeypatch.setattr("tempfile.mkdtemp", noted)
    gc.collect()  # sockets of the tests before
    descriptors = len(os.listdir("/proc/self/fd"))
    jump = hop()
    assert made[0].is_dir()
    jump.close()
    jump._server.join(10)
    assert not jump._server.is_alive()
    (tmp_path / "ssh").unlink()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="ssh"):
        hop()
    assert len(made) == 2 and not any(map(Path.exists, made))
    assert len(os.listdir("/proc/self/fd")) == descriptors


@needs_root
def test_who_does_not_unlock_a_key_may_still_type_a_password(
    client: Client, tmp_path: Path, account: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.sshd import lock_key

    monkeypatch.setenv("FOUNDATIONS_HOME", str(client.home))
    server = asking_sshd(tmp_path, account, "PasswordAuthentication yes")
    try:
        client.add_host("box", server)
        lock_key(server.identity, "sesame")
        connect(Answers(PASSWORD).asker)
        with pytest.raises(HostRefused, match="has a passphrase"):
            connect(NOBODY)
    finally:
        server.cut()


@needs_root
def test_a_code_is_asked_for_in_a_dialog_of_the_app(client: Client, tmp_path: Path, account: str) -> None:
    lines = ("AuthenticationMethods publickey,keyboard-interactive", "KbdInteractiveAuthentication yes")
    server = asking_sshd(tmp_path, account, *lines)
    tmux = Tmux(tmp_path, 80, 24)
    try:
        client.add_host("box", server, root=f"/home/{account}/root")
        tmux.start(FOUNDATIONS, client.env, client.project)
        tmux.until(lambda shown: "asks: Password" in shown)
        tmux.send("4")  # typed before anybody can have read the question: no answer
        time.sleep(1.5)
        tmux.send(PASSWORD, "Enter")
        wait_until(lambda: any(row["state"] == "reachable" for row in client.json("hosts") if row["host"] == "box"))
        tmux.until(lambda shown: "asks: Password" not in shown)
        assert PASSWORD not in tmux.shown()
        tmux.send("q")
        assert tmux.exit_code() == 0
    finally:
        tmux.close()
        server.cut()
