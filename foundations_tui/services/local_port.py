"""At which port of this machine a service is reached: the same one each time."""

from __future__ import annotations

import functools

from foundations_serve.front.proxy import Proxy
from foundations_tui.errors import UsageError
from foundations_tui.services import own_machine
from foundations_tui.services.balancing import Balancer
from foundations_tui.session import Session
from foundations_tui.store import services
from foundations_tui.store.services import ServiceRow

FIRST_PORT, LAST_PORT = 8801, 8999
"""Where a port is looked for."""


def listen(session: Session, balancer: Balancer, row: ServiceRow, wanted: int | None = None) -> Proxy:
    """Return a proxy at the port at which a service was reached before; else at the first free one, which it keeps.

    Args:
        session: the client's.
        balancer: knows the replicas.
        row: the service.
        wanted: a port that is to be its own from now on; None for none.
    Raises:
        UsageError: that port cannot be used, or none is free.
    """
    store = session.store
    if wanted is not None:
        try:
            proxy = _proxy(balancer, wanted)
        except OSError as error:
            raise UsageError(f"port {wanted} of this machine cannot be used: {error.strerror}") from None
        services.put_port(store, row.name, row.host, proxy.port)
        return proxy
    kept = services.port_of(store.conn, row.name, row.host)
    others = services.ports(store.conn)
    free = (port for port in range(FIRST_PORT, LAST_PORT + 1) if port not in others)
    for port in [*([kept] if kept is not None else []), *free]:
        try:
            proxy = _proxy(balancer, port)
        except OSError:
            continue
        if kept is None:
            services.put_port(store, row.name, row.host, port)
        elif port != kept:
            session.say(f"note: port {kept} of this machine is taken; this time it is port {port}")
        return proxy
    raise UsageError(f"no port from {FIRST_PORT} to {LAST_PORT} is free here", "--port names another one")


def _proxy(balancer: Balancer, port: int) -> Proxy:
    return Proxy(balancer, functools.partial(own_machine.listener, port), own_machine.Gate)
