"""The page of services: what can be done there is done to a real one."""

from __future__ import annotations

import asyncio
import shutil
import time
import urllib.request
from collections.abc import Callable

import pytest

from foundations_tui.cli.registry import VERBS
from foundations_tui.session import Session
from foundations_tui.store import services
from foundations_tui.store.db import Store
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.render_once import settle, text
from foundations_tui.ui.screens.menu import Menu
from remote_agent.protocol.services import Readiness, Replica, ServiceView
from tests.support import service_app
from tests.support.client import Client, use_slots


async def until(condition: Callable[[], bool], words: Callable[[], str], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, words()
        await asyncio.sleep(0.1)


@pytest.mark.rest
async def test_a_service_is_reached_scaled_and_stopped_from_its_page(client: Client) -> None:
    use_slots(client, 3)
    shutil.copy(service_app.__file__, client.project / "service_app.py")
    client.run("serve", "api", "--probe-every", "0.3", "--", "python", "service_app.py", "{port}")
    app = FoundationsApp(Session(connect_timeout=3), VERBS)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("9")
        await until(lambda: "api" in text(app) and "1/1" in text(app), lambda: text(app))
        await pilot.press("x")
        await until(lambda: isinstance(app.screen, Menu), lambda: text(app))
        await pilot.press("c")
        await until(lambda: bool(app.local_urls), lambda: text(app))
        (url,) = app.local_urls.values()
        answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).status)
        assert answer == 200
        await until(lambda: url.removeprefix("http://") in text(app), lambda: text(app))
        await pilot.press("x", "+")
        await until(lambda: "2/2" in text(app), lambda: text(app))
        await pilot.press("enter")
        await until(lambda: "api-1" in text(app), lambda: text(app))
        await pilot.press("escape", "x", "s", "y")
        await until(lambda: "stopped" in text(app), lambda: text(app))
    with pytest.raises(OSError):
        urllib.request.urlopen(url, timeout=5)


async def test_a_hosts_text_stays_text_on_the_page_of_services() -> None:
    evil = "\x1b]0;owned\x07[red]x[/red]\x1b[2J"
    replica = Replica("a" * 12, 1, "running", 1, evil, readiness=Readiness(why=evil, address=evil, port=1))
    store = Store()
    services.put_services(store, "local", [ServiceView("api", 1, 1, 0, evil, evil, evil, running=[replica])])
    store.close()
    app = FoundationsApp(Session(), VERBS, page="services", follow=False)
    async with app.run_test(size=(120, 30)) as pilot:
        await settle(app, pilot)
        shown = text(app)
    assert "[red]x[/red]" in shown and "\x1b" not in shown
