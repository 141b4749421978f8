"""A small process that forks supervisors: the daemon makes it before it has a socket or a heap of its own.

A supervisor so inherits neither, and costs a fork of a few pages. It ends with the daemon.
"""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import traceback
from typing import Optional

from remote_agent.protocol.errors import BadRequest
from remote_agent.protocol.supervision import StartOrder, decode, encode
from remote_agent.storage.paths import Paths
from remote_agent.supervisor import supervisor
from remote_agent.system import failpoints, unix_sockets

_ORDER_BYTES = 64 * 1024
_ANSWER_BYTES = 256
_DONE = b"ok"


class Zygote:
    """The daemon's handle on its zygote."""

    def __init__(self, paths: Paths, report: Optional[int]) -> None:
        """Fork the zygote. To be called while the process has one thread, no socket and no journal."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.pid = os.fork()
        if self.pid == 0:
            ours.close()
            if report is not None:
                os.close(report)
            _serve(theirs, paths)
            os._exit(0)
        theirs.close()
        self._socket = ours

    def start(self, order: StartOrder) -> None:
        """Have a supervisor forked for an order; when this returns its socket can be connected to.

        Raises:
            ConnectionError: the zygote is gone. OSError: the host gives no process.
        """
        self._socket.send(encode(order))
        answer = self._socket.recv(_ANSWER_BYTES)
        if not answer:
            raise ConnectionResetError("the zygote has ended")
        if answer != _DONE:
            raise OSError(answer.decode("utf-8", "replace"))


def _serve(orders: socket.socket, paths: Paths) -> None:
    gc.freeze()  # the collector would touch, and so copy, every page in each supervisor
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        message = orders.recv(_ORDER_BYTES)
        if not message:
            return
        failpoints.point("zygote.order")
        answer = _DONE
        try:
            order = decode(message)
            if not isinstance(order, StartOrder):
                raise BadRequest("this is no order to start anything")
            listener = unix_sockets.listen(paths.supervisor_sockets(order.job, order.attempt), socket.SOCK_SEQPACKET)
            if listener is not None:
                with listener:
                    _fork_supervisor(orders, paths, order, listener)
        except OSError as error:
            answer = f"no process could be made: {error.strerror or error}".encode()
        except (BadRequest, ValueError) as error:
            answer = f"the order makes no sense: {error}".encode("utf-8", "replace")[:_ANSWER_BYTES]
        orders.send(answer)


def _fork_supervisor(orders: socket.socket, paths: Paths, order: StartOrder, listener: socket.socket) -> None:
    if os.fork():
        return
    try:
        orders.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        supervisor.run(paths, order, listener)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(0)
