"""The page of models: what a version is, what can be done with it, and that a host's text stays text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from foundations_tui.cli.registry import VERBS
from foundations_tui.session import Session
from foundations_tui.store import models, services
from foundations_tui.store.db import Store
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.render_once import settle, text
from foundations_tui.ui.screens.menu import Menu
from remote_agent.protocol.models import RegistryEvent, Version
from remote_agent.protocol.services import ServiceView
from tests.app.test_services import until
from tests.support.client import Client, use_slots


def _event(**more: object) -> RegistryEvent:
    return RegistryEvent.from_wire({"kind": "registered", "model": "churn", "number": 1, "at": 5.0, **more}, "")


async def test_a_hosts_text_stays_text_on_the_page_of_models() -> None:
    evil = "\x1b]0;owned\x07[red]x[/red]\x1b[2J"
    version = Version("a" * 12, project=evil, path=evil, note=evil, params={evil: evil}, metrics={evil: {"last": evil}})
    version = Version(**{**version.__dict__, "signature": {"inputs": [{"name": evil, "datatype": evil}], "outputs": 3}})
    store = Store()
    told = [_event(version=version.to_wire(), by=evil), _event(kind="alias", alias="champion", by=evil)]
    models.put_events(store, "local", ("", 0), "j", 2, list(enumerate(told, 1)))
    store.close()
    for size in ((120, 30), (80, 24)):
        app = FoundationsApp(Session(), VERBS, page="models", follow=False)
        async with app.run_test(size=size) as pilot:
            await settle(app, pilot)
            shown = text(app)
        assert "[red]x[/red]" in shown and "\x1b" not in shown


async def test_a_service_whose_alias_has_come_to_mean_another_version_says_so() -> None:
    store, at = Store(), ("", 0)
    for number, words in ((1, "churn 1 (served as champion)"), (2, "(served as champion, which is version 2 now)")):
        version = Version(f"{number}" * 12)
        told = [_event(version=version.to_wire(), number=number), _event(kind="alias", alias="champion", number=number)]
        models.put_events(store, "local", at, "j", at[1] + 2, list(enumerate(told, at[1] + 1)))
        at = "j", at[1] + 2
        services.put_services(store, "local", [ServiceView("api", 1, 1, 0, model="churn", version=1, alias="champion")])
        app = FoundationsApp(Session(), VERBS, page="services", follow=False)
        async with app.run_test(size=(120, 30)) as pilot:
            await settle(app, pilot)
            assert words in text(app)
    store.close()


@pytest.mark.rest
async def test_a_version_is_promoted_served_tried_and_rolled_back_from_its_page(client: Client) -> None:
    use_slots(client, 3)
    client.env["PATH"] = f"{Path(sys.executable).parent}:{client.env['PATH']}"
    (client.project / "serving.py").write_text("def predict(x):\n    return x * 2\n")
    (client.project / "foundations.toml").write_text(
        '[model]\npredict = "serving:predict"\nexample = { x = [21.0] }\n[env]\nPATH = "' + client.env["PATH"] + '"\n'
    )
    for number in (1, 2):
        job = client.submit("--wait", "--param", f"number={number}", "--", "python", "-c", "pass")
        client.run("model", "register", job, "--name", "churn")
    client.run("model", "promote", "churn", "1")
    app = FoundationsApp(Session(connect_timeout=3), VERBS)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("8")
        await until(lambda: "champion" in text(app), lambda: text(app))
        await pilot.press("x")
        await until(lambda: isinstance(app.screen, Menu), lambda: text(app))
        assert "make it the champion (now 1)" in text(app)
        await pilot.press("p", "y")
        await until(lambda: app.done == ["champion of churn means 2"], lambda: text(app))
        await until(lambda: "2 champion" in text(app), lambda: text(app))
        await pilot.press("x", "s", "y")
        await until(lambda: "churn on local" in text(app), lambda: text(app))
        await pilot.press("9")
        await until(lambda: "1/1" in text(app), lambda: text(app))
        await pilot.press("8", "x", "t")
        await until(lambda: app.done[-1].endswith("[42.0]"), lambda: repr(app.done))
        await pilot.press("x", "b", "y")
        await until(lambda: app.done[-1] == "champion of churn means 1", lambda: text(app))
