"""SSH through Fabric and paramiko: the user's own configuration from ``ssh -G``, host keys always verified."""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import shlex
import shutil
import socket
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fabric
import paramiko

from foundations_tui.config import locations
from foundations_tui.config.hosts import HostConfig
from foundations_tui.errors import (
    ConfigError,
    ForwardingRefused,
    HostKeyChanged,
    HostKeyUnknown,
    HostRefused,
    HostUnreachable,
    NoMoreChannels,
)
from foundations_tui.hosts import console, hostkeys, jumping, login
from foundations_tui.hosts.addresses import split_address
from foundations_tui.hosts.asking import Asker, UnknownKey

# Its errors come to us as exceptions; a handler of last resort would print them over the app, too.
logging.getLogger("paramiko").addHandler(logging.NullHandler())

_FAST_CIPHERS = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
"""First choice: paramiko's own order begins with aes-ctr and a separate MAC, which is several times slower."""
_WINDOW = 4 << 20
_LAST_WORDS = 2.0
"""Seconds that an ending channel's last words may take."""
_MOST_ERRORS = 64 << 10
_CONNECT_FAILED = 2
"""SSH_OPEN_CONNECT_FAILED, RFC 4254, section 5.1."""
_KEEPALIVE = 15
_DEAD_AFTER_MS = 30_000
"""How long sent bytes may stay unacknowledged before the connection counts as dead."""


@dataclass(frozen=True)
class Destination:
    """Where a connection goes, after the user's own ssh configuration."""

    hostname: str
    port: int
    user: str
    identities: list[str] = field(default_factory=list)
    only_identities: bool = False
    known_hosts: list[Path] = field(default_factory=list)
    key_name: str = ""
    """Name under which known_hosts has the host."""
    jump: str = ""


class SshTransport:
    """One SSH connection, used for many channels."""

    def __init__(self, host: HostConfig, asker: Asker, timeout: float) -> None:
        """Connect; a key with a passphrase is asked about when no other key, and no agent, opens the door.

        Raises:
            HostError: out of reach, refused, or a host key that is unknown or changed.
        """
        self._host = host
        self._forwarding = threading.Lock()
        self._forwards = False
        """Whether the server has made a connection for us."""
        self._jump: jumping.Jump | None = None
        where = resolve(host)
        self._socket = CountingSocket(self._connect_socket(where, asker, timeout))
        try:
            self._connection = self._handshake(where, asker, timeout)
        except BaseException:
            self._socket.close()
            self._end_jump()
            raise

    @property
    def sent(self) -> int:
        """Bytes that went out on the connection."""
        return self._socket.sent

    def open(self) -> SshChannel:
        """Return a channel to ``/bin/sh``.

        Raises:
            NoMoreChannels: the server gives no other one on this connection. HostUnreachable: the connection is gone.
        """
        try:
            channel = self._connection.transport.open_session(window_size=_WINDOW, timeout=20)
            channel.exec_command("/bin/sh")
            return SshChannel(channel, self._host.name)
        except paramiko.ChannelException as error:
            raise self._no_channel(error) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(error) from None

    def connect(self, address: str, port: int) -> SshStream:
        """Return a connection to a port of the host itself, through the SSH server.

        Raises:
            ForwardingRefused: the server makes none. OSError: nothing takes it there. HostUnreachable: the connection
                is gone.
        """
        try:
            return SshStream(self._forwarded(address, port))
        except paramiko.ChannelException as error:
            if error.code == _CONNECT_FAILED:
                raise ConnectionRefusedError(f"{self._host.name}: {address} port {port}: {error.text}") from None
            raise ForwardingRefused(f"{self._host.name}: the server forwards no connections: {error.text}") from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(error) from None

    def _forwarded(self, address: str, port: int) -> paramiko.Channel:
        """Return a channel that the server has connected to a port.

        paramiko keeps the reason of a refusal in one place for all threads. So one after the other asks until it is
        known that the server forwards at all; from then on, a refusal without a reason means that nothing listens.
        """
        transport = self._connection.transport

        def ask() -> paramiko.Channel:
            ends = (address, port), ("127.0.0.1", 0)
            return transport.open_channel("direct-tcpip", *ends, window_size=_WINDOW, timeout=20)

        if not self._forwards:
            with self._forwarding:
                channel = ask()
                self._forwards = True
                return channel
        try:
            return ask()
        except paramiko.ChannelException:
            raise
        except paramiko.SSHException as error:
            if not transport.is_active():
                raise
            raise paramiko.ChannelException(_CONNECT_FAILED, str(error)) from None

    def _lost(self, error: Exception) -> HostUnreachable:
        return HostUnreachable(f"{self._host.name}: the connection was lost ({str(error) or type(error).__name__})")

    def _no_channel(self, error: paramiko.ChannelException) -> NoMoreChannels:
        return NoMoreChannels(
            f"{self._host.name}: the server gives no (further) session on a connection (MaxSessions): {error.text}",
            "ask its administrator for MaxSessions of at least 2",
        )

    def console(self, line: str, nonce: str, tty: bool) -> int:
        """Run a shell line on this process's own input and output, and return its exit code.

        Raises:
            HostUnreachable: the connection is gone.
        """
        try:
            channel = self._connection.transport.open_session(window_size=_WINDOW, timeout=20)
            if tty:
                columns, lines = shutil.get_terminal_size()
                channel.get_pty(os.environ.get("TERM", "xterm"), columns, lines)
            channel.exec_command(line)
            return console.bridge(channel, nonce, tty)
        except paramiko.ChannelException as error:
            raise self._no_channel(error) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            raise self._lost(error) from None

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._connection.close()
        self._socket.close()
        self._end_jump()

    def _connect_socket(self, where: Destination, asker: Asker, timeout: float) -> socket.socket:
        if where.jump:
            try:
                self._jump = jumping.Jump(self._host.name, where.hostname, where.port, where.jump, asker)
            except OSError as error:
                words = f"the way through the jump host {where.jump} cannot be begun: {error}"
                hint = "a jump host takes OpenSSH's ssh on the PATH"
                raise HostUnreachable(f"{self._host.name}: {words}", hint) from None
            return self._jump.socket
        try:
            sock = socket.create_connection((where.hostname, where.port), timeout)
        except OSError as error:
            words = "timed out" if isinstance(error, TimeoutError) else (error.strerror or str(error))
            raise HostUnreachable(
                f"{self._host.name}: cannot reach {where.hostname} port {where.port}: {words}",
                f"is the machine up, and the address right? try: {_ssh_command(self._host)}",
            ) from None
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _DEAD_AFTER_MS)
        return sock

    def _end_jump(self) -> None:
        if self._jump is not None:
            self._jump.close()

    def _handshake(self, where: Destination, asker: Asker, timeout: float) -> fabric.Connection:
        log_in = login.Login(
            self._host.name,
            where.hostname,
            where.user,
            where.identities,
            asker,
            agent=not where.only_identities,
            copy_id=_ssh_command(self._host, "ssh-copy-id"),
        )
        connection = fabric.Connection(
            where.hostname,
            user=where.user,
            port=where.port,
            config=fabric.Config(lazy=True, overrides={"load_ssh_configs": False}),
            connect_timeout=timeout,
            connect_kwargs={
                "sock": self._socket,
                "auth_strategy": log_in,
                "transport_factory": _fast_transport,
                "banner_timeout": timeout if self._jump is None else max(timeout, jumping.PATIENCE),
            },
        )
        trust = _trust_known_keys(connection.client, where)
        connection.client.set_missing_host_key_policy(_AskPolicy(self._host, where, asker))
        try:
            connection.open()
        except paramiko.BadHostKeyException as error:
            raise _key_changed(self._host, where, error, trust) from None
        except (paramiko.SSHException, EOFError, OSError) as error:
            errors = self._jump.words() if self._jump is not None else ""
            words = errors or str(error) or type(error).__name__
            raise HostUnreachable(f"{self._host.name}: no SSH connection to {where.hostname}: {words}") from None
        connection.client.get_transport().set_keepalive(_KEEPALIVE)
        return connection


class SshChannel:
    """A shell behind one SSH channel."""

    def __init__(self, channel: paramiko.Channel, host: str) -> None:
        self._channel = channel
        self._host = host

    def send(self, data: bytes) -> None:
        """Send all of the data."""
        try:
            self._channel.sendall(data)
        except TimeoutError:
            raise
        except (OSError, EOFError) as error:
            raise HostUnreachable(f"{self._host}: the connection was lost ({error})") from None

    def recv(self, size: int) -> bytes:
        """Return what has arrived; empty at the end."""
        data: bytes = self._channel.recv(size)
        return data

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has arrived."""
        return int(self._channel.fileno())

    def set_timeout(self, seconds: float | None) -> None:
        """Bound the next calls."""
        self._channel.settimeout(seconds)

    def end_input(self) -> None:
        """Close the shell's standard input."""
        try:
            self._channel.shutdown_write()
        except (OSError, EOFError) as error:
            raise HostUnreachable(f"{self._host}: the connection was lost ({error})") from None

    def errors(self) -> str:
        """Return what came on standard error; of a channel that ends, also what is still on its way."""
        data = b""
        if self._channel.closed or self._channel.eof_received:
            self._channel.status_event.wait(_LAST_WORDS)
        while len(data) < _MOST_ERRORS and self._channel.recv_stderr_ready():
            data += self._channel.recv_stderr(4096)
        return data.decode("utf-8", "replace")

    def exit_code(self) -> int | None:
        """Return with what the shell ended, where the server has said so."""
        self._channel.status_event.wait(_LAST_WORDS)
        return self._channel.exit_status if self._channel.exit_status >= 0 else None

    def close(self) -> None:
        """End the channel; one whose connection is gone has ended already."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()


class SshStream:
    """A connection that the SSH server has made on the host."""

    def __init__(self, channel: paramiko.Channel) -> None:
        self._channel = channel

    def fileno(self) -> int:
        """Return a descriptor that is readable when something has arrived, or the connection has ended."""
        return int(self._channel.fileno())

    def recv(self, size: int) -> bytes:
        """Return what has arrived; empty at the end."""
        data: bytes = self._channel.recv(size)
        return data

    def sendall(self, data: bytes) -> None:
        """Send all of the data."""
        self._channel.sendall(data)

    def settimeout(self, seconds: float | None) -> None:
        """Bound the next calls."""
        self._channel.settimeout(seconds)

    def end_input(self) -> None:
        """Say that nothing more is sent."""
        self._channel.shutdown_write()

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.close()


class CountingSocket:
    """A socket that counts what goes out."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self.sent = 0

    def send(self, data: bytes) -> int:
        """Send some of the data."""
        count = self._socket.send(data)
        self.sent += count
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)


# --- where it goes ----------------------------------------------------------------------------------------------


def resolve(host: HostConfig) -> Destination:
    """Return where a host's address leads, by ``ssh -G`` when there is an ssh.

    Raises:
        ConfigError: the address is none. HostRefused: the user's configuration asks for what is not supported yet.
    """
    user, name, port = split_address(host.address)
    settings = _ssh_settings(user, name, port)
    proxy = settings.get("proxycommand", ["none"])[0]
    if proxy != "none":
        raise HostRefused(
            f"{host.name}: ProxyCommand of your ssh configuration is not supported yet", "use ProxyJump instead"
        )
    hostname = settings.get("hostname", [name])[0]
    number = int(settings.get("port", [str(port or 22)])[0])
    if host.identity and not os.path.exists(os.path.expanduser(host.identity)):
        raise ConfigError(f"{host.name}: its identity {host.identity} is not there", "correct it in hosts.toml")
    alias = settings.get("hostkeyalias", [""])[0]
    identities = [host.identity] if host.identity else settings.get("identityfile", _usual_identities())
    jump = settings.get("proxyjump", ["none"])[0]
    return Destination(
        hostname=hostname,
        port=number,
        user=settings.get("user", [user or getpass.getuser()])[0],
        identities=[path for path in map(os.path.expanduser, identities) if os.path.exists(path)],
        only_identities=bool(host.identity) or settings.get("identitiesonly", ["no"])[0] == "yes",
        known_hosts=_known_hosts_files(settings),
        key_name=alias or (hostname if number == 22 else f"[{hostname}]:{number}"),
        jump="" if jump == "none" else jump,
    )


def _ssh_command(host: HostConfig, program: str = "ssh") -> str:
    """Return what the user types to try the same with ssh, or to put our key onto the host with ssh-copy-id."""
    user, name, port = split_address(host.address)
    words = [program, *(["-p", str(port)] if port else []), *(["-i", host.identity] if host.identity else [])]
    return shlex.join([*words, f"{user}@{name}" if user else name])


def _ssh_settings(user: str, name: str, port: int) -> dict[str, list[str]]:
    """Return what ``ssh -G`` says of a host; empty without an ssh."""
    if not shutil.which("ssh"):
        return {}
    words = ["ssh", "-G"]
    words += ["-p", str(port)] if port else []
    words += ["-l", user] if user else []
    done = subprocess.run([*words, "--", name], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    settings: dict[str, list[str]] = {}
    for line in done.stdout.splitlines() if done.returncode == 0 else ():
        key, _, value = line.partition(" ")
        settings.setdefault(key, []).append(value)
    return settings


def _usual_identities() -> list[str]:
    return [f"~/.ssh/id_{kind}" for kind in ("ed25519", "ecdsa", "rsa")]


def _known_hosts_files(settings: dict[str, list[str]]) -> list[Path]:
    """Return the known_hosts files to read; the first is the one that new keys are written to."""
    own = locations.known_hosts_file()
    users = settings.get("userknownhostsfile", ["~/.ssh/known_hosts"])[0].split()
    system = settings.get("globalknownhostsfile", ["/etc/ssh/ssh_known_hosts"])[0].split()
    usual = [Path(os.path.expanduser(path)) for path in (*users, *system)]
    return [own, *usual] if own else usual


# --- host keys --------------------------------------------------------------------------------------------------


def _trust_known_keys(client: paramiko.SSHClient, where: Destination) -> list[hostkeys.KnownKey]:
    """Give the client the keys that known_hosts has for this host, under the name it looks them up by."""
    name = where.hostname if where.port == 22 else f"[{where.hostname}]:{where.port}"
    keys = list(hostkeys.known_keys(where.key_name, where.known_hosts))
    revoked = {key.blob for key in keys if key.revoked}
    for key in keys:
        if key.blob in revoked:
            continue
        try:
            client.get_host_keys().add(name, key.kind, paramiko.PKey.from_type_string(key.kind, key.blob))
        except (paramiko.SSHException, ValueError):
            continue  # a kind that paramiko does not know
    return keys


class _AskPolicy(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Asks about an unknown key; Fabric's own policy takes every key."""

    def __init__(self, host: HostConfig, where: Destination, asker: Asker) -> None:
        self._host, self._where, self._asker = host, where, asker

    def missing_host_key(self, client: Any, hostname: str, key: paramiko.PKey) -> None:
        blob = key.asbytes()
        for known_key in hostkeys.known_keys(self._where.key_name, self._where.known_hosts):
            if known_key.revoked and known_key.blob == blob:
                raise HostKeyChanged(f"{self._host.name}: its host key is marked as revoked ({known_key.where})")
        unknown = UnknownKey(self._where.key_name, key.get_name(), hostkeys.fingerprint(blob))
        if not self._asker.trusts(unknown):
            raise HostKeyUnknown(
                f"{self._host.name}: the host key of {unknown.host} is not known: {unknown.kind} {unknown.fingerprint}",
                f"compare it with what the host's owner says, then: foundations hosts test {self._host.name}"
                " --accept-new-host-key",
            )
        hostkeys.remember(unknown.host, unknown.kind, blob, self._where.known_hosts[0])


def _key_changed(
    host: HostConfig, where: Destination, error: paramiko.BadHostKeyException, known_key: list[hostkeys.KnownKey]
) -> HostKeyChanged:
    places = ", ".join(key.where for key in known_key)
    return HostKeyChanged(
        f"{host.name}: THE HOST KEY OF {where.key_name} HAS CHANGED: it shows {error.key.get_name()} "
        f"{hostkeys.fingerprint(error.key.asbytes())}, which is not what {places} says. Nothing was sent.",
        "somebody may be listening in. If the host was reinstalled, remove the old key first: "
        f"ssh-keygen -R '{where.key_name}'",
    )


def _fast_transport(sock: Any, **options: Any) -> paramiko.Transport:
    transport = paramiko.Transport(sock, default_window_size=_WINDOW, **options)
    security = transport.get_security_options()
    slower = [cipher for cipher in security.ciphers if cipher not in _FAST_CIPHERS]
    security.ciphers = [*_FAST_CIPHERS, *slower]
    transport.daemon = True
    return transport
