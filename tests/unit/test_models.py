"""The registry as a fold: versions never change, aliases move, and the same event again changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from foundations_tui.config.schema import ModelTable
from foundations_tui.errors import ConfigError
from foundations_tui.services.models import registering, settings
from remote_agent.core import events, state as states
from remote_agent.core.events import JournalEntry
from remote_agent.core.state import HostState
from remote_agent.daemon.models import Models
from remote_agent.protocol import checks, messages, models
from remote_agent.protocol.errors import BadRequest, Conflict, NotFound
from remote_agent.protocol.models import RegistryEvent, Version


class Ledger:
    """What decides here and now, without a journal."""

    def __init__(self) -> None:
        self.state = HostState()
        self.now = 1000.0

    def clock(self) -> float:
        return self.now

    def record(self, change: events.Change) -> None:
        entry = JournalEntry.from_wire(JournalEntry(self.state.seq + 1, self.now, change).to_wire())
        states.apply(self.state, entry)


def _version(job: str, **more: Any) -> Version:
    return Version.from_wire({"job": job, "predict": "serving:predict", **more}, "")


def _registry() -> tuple[Models, Ledger]:
    ledger = Ledger()
    return Models(ledger), ledger  # type: ignore[arg-type]


def _set(registry: Models, alias: str, number: int, expected: int, by: str = "ada") -> messages.RegistryChange:
    return registry.set_alias(messages.SetAlias("churn", alias, number, expected, by))


def test_numbers_rise_and_the_same_version_twice_is_one() -> None:
    registry, ledger = _registry()
    first = registry.register("churn", _version("aaa"), "ada")
    second = registry.register("churn", _version("bbb"), "bob")
    again = registry.register("churn", _version("aaa"), "eve")
    assert [change.event.number for change in (first, second, again)] == [1, 2, 1]
    assert [change.changed for change in (first, second, again)] == [True, True, False]
    registry.retire("churn", 1, "ada", undo=False)
    assert registry.register("churn", _version("aaa"), "ada").event.number == 1, "one that was retired counts again"
    with pytest.raises(BadRequest, match="40,000"):
        registry.register("churn", _version("ccc", params={"x": "y" * 40_000}), "ada")
    assert ledger.state.models["churn"].versions.keys() == {1, 2}
    assert not ledger.state.models["churn"].versions[1].is_retired


def test_of_two_who_promote_at_once_one_wins_and_the_other_is_told() -> None:
    registry, ledger = _registry()
    for job in ("aaa", "bbb", "ccc"):
        registry.register("churn", _version(job), "ada")
    _set(registry, "champion", 1, 0)
    assert _set(registry, "champion", 2, 1, "ada").changed
    with pytest.raises(Conflict, match="means version 2 now, by ada"):
        _set(registry, "champion", 3, 1, "bob")
    assert not _set(registry, "champion", 2, 1).changed, "the same again, its answer was lost"
    with pytest.raises(NotFound, match="no version 9; there are: 1, 2, 3"):
        _set(registry, "champion", 9, 2)
    _set(registry, "champion", 0, 2)
    assert ledger.state.models["churn"].aliases == {}


def test_what_an_alias_means_is_not_retired_and_what_is_retired_is_not_promoted() -> None:
    registry, _ = _registry()
    registry.register("churn", _version("aaa"), "ada")
    registry.register("churn", _version("bbb"), "ada")
    _set(registry, "champion", 1, 0)
    with pytest.raises(Conflict, match="champion of churn means version 1"):
        registry.retire("churn", 1, "ada", undo=False)
    registry.retire("churn", 2, "ada", undo=False)
    with pytest.raises(Conflict, match="was retired by ada"):
        _set(registry, "champion", 2, 1)
    registry.retire("churn", 2, "ada", undo=True)
    assert _set(registry, "champion", 2, 1).changed


def test_going_back_goes_on_going_back() -> None:
    registry, ledger = _registry()
    for job in ("aaa", "bbb", "ccc"):
        registry.register("churn", _version(job), "ada")
    model = ledger.state.models["churn"]
    for number in (1, 2, 3):
        _set(registry, "champion", number, model.aliases.get("champion", 0))
    seen = []
    while model.previous("champion"):
        _set(registry, "champion", model.previous("champion"), model.aliases["champion"])
        seen.append(model.aliases["champion"])
    assert seen == [2, 1]
    _set(registry, "champion", 3, 1)
    registry.retire("churn", 2, "ada", undo=False)
    assert model.previous("champion") == 1, "what was retired is not returned to"
    registry.retire("churn", 1, "ada", undo=False)
    assert (model.previous("champion"), model.earlier("champion")) == (0, [1]), "it is named, and not returned to"


_STEPS = st.lists(
    st.tuples(st.sampled_from(["register", "alias", "drop", "retire", "restore"]), st.integers(1, 4), st.booleans()),
    max_size=25,
)


def _walk(steps: list[tuple[str, int, bool]]) -> Ledger:
    registry, ledger = _registry()
    for action, number, other in steps:
        ledger.now += 1.0
        model = ledger.state.models.get("churn")
        alias = "challenger" if other else "champion"
        try:
            if action == "register":
                registry.register("churn", _version(f"job{number}"), "ada")
            elif action in ("alias", "drop") and model is not None:
                _set(registry, alias, number if action == "alias" else 0, model.aliases.get(alias, 0))
            elif model is not None:
                registry.retire("churn", number, "ada", undo=action == "restore")
        except (Conflict, NotFound):
            continue
    return ledger


@given(_STEPS)
def test_a_compacted_journal_has_the_same_registry(steps: list[tuple[str, int, bool]]) -> None:
    ledger = _walk(steps)
    again = HostState()
    entries = list(states.snapshot_events(ledger.state, 5.0))
    for entry in entries:
        states.apply(again, JournalEntry.from_wire(entry.to_wire()))
    assert again.models == ledger.state.models
    assert again.registry == ledger.state.registry, "clients' cursors go on"
    assert [entry.seq for entry in entries] == sorted(entry.seq for entry in entries)


@given(_STEPS, st.integers(1, 3))
def test_what_clients_hold_makes_a_lost_registry_again_however_often_they_say_it(
    steps: list[tuple[str, int, bool]], times: int
) -> None:
    before = _walk(steps).state
    held = [event for _, event in before.registry]
    registry, ledger = _registry()
    for _ in range(times):
        registry.adopt(held)
    assert ledger.state.models == before.models


def test_two_homes_become_one_with_every_version() -> None:
    one, _ = _registry()
    other, ledger = _registry()
    told = [one.register("churn", _version(job), "ada").event for job in ("aaa", "bbb")]
    told.append(_set(one, "champion", 1, 0).event)
    other.register("churn", _version("ccc"), "bob")
    assert other.adopt(told) == messages.AdoptRegistryAnswer(3, 0)
    model = ledger.state.models["churn"]
    jobs = {number: version.version.job for number, version in model.versions.items()}
    assert jobs == {1: "ccc", 2: "aaa", 3: "bbb"}
    assert model.aliases == {"champion": 2}, "an alias means the same version under its new number"
    assert other.adopt(told) == messages.AdoptRegistryAnswer(0, 0)


def test_a_model_that_has_moved_is_changed_at_its_new_home_only() -> None:
    registry, _ = _registry()
    registry.register("churn", _version("aaa"), "ada")
    registry.move("churn", "gpu2", "ada")
    with pytest.raises(Conflict, match="home of model churn is gpu2 now"):
        registry.register("churn", _version("bbb"), "ada")
    registry.move("churn", "", "ada")
    assert registry.register("churn", _version("bbb"), "ada").event.number == 2


def test_what_cannot_have_happened_is_not_adopted() -> None:
    registry, ledger = _registry()
    held = [
        RegistryEvent(
            "registered", "churn", 1, _version("aaa", params={"x": "y" * 25_000}, metrics={"x": "y" * 25_000})
        ),
        RegistryEvent("registered", "churn", 0, _version("bbb")),
        RegistryEvent("registered", "churn", 2),
        RegistryEvent("alias", "churn", 1, of="a" * 64, alias="champion"),
    ]
    assert registry.adopt(held) == messages.AdoptRegistryAnswer(0, 4)
    assert ledger.state.models == {}
    with pytest.raises(BadRequest, match="an alias"):
        RegistryEvent.from_wire({"kind": "alias", "model": "churn", "alias": "\x1b]0;x\x07"}, "")


def test_pins_of_two_names_are_two() -> None:
    assert models.pin_key("churn", _version("aaa")) != models.pin_key("fraud", _version("aaa"))


def test_a_page_closes_and_the_next_one_goes_on() -> None:
    registry, _ = _registry()
    for number in range(30):
        registry.register("churn", _version(f"job{number}", note="x" * 1000), "ada")
    seen: list[int] = []
    after, more = 0, True
    while more:
        page, after, more = registry.page(after, 8000)
        assert 0 < checks.json_size([event.to_wire() for _, event in page]) < 10_000
        seen += [event.number for _, event in page]
    assert seen == list(range(1, 31))


@pytest.mark.parametrize(
    "wire",
    [
        {},
        {"job": "../x"},
        {"job": "a", "predict": "no colon"},
        {"job": "a", "predict": "os:system; x"},
        {"job": "a", "flavour": "magic"},
        {"job": "a", "data": "short"},
        {"job": "a", "snapshot": "HEAD"},
        {"job": "a", "deadline": 0},
        {"job": "a", "example": []},
        {"job": "a", "note": "\ud800"},
        {"job": "a", "subdir": "/etc"},
        {"job": "a", "subdir": "x/../../y"},
        {"job": "a", "subdir": ".."},
    ],
)
def test_a_version_that_makes_no_sense_is_refused(wire: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        Version.from_wire(wire, "the version")


@pytest.mark.parametrize("name", ["", "Churn", "a.b", "a/b", "../x", "-a", "a" * 64, "ä", "a b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(BadRequest):
        RegistryEvent.from_wire({"kind": "moved", "model": name}, "")


# --- what a project says ------------------------------------------------------------------------------------------


def test_the_predecessors_manifest_is_read_and_its_errors_are_its_own() -> None:
    table = settings.of_manifest(
        b"entrypoints:\n  predict: {module: pkg.mod, function: fn}\n  evaluate: {module: m, function: e}\n"
    )
    assert (table.predict, table.evaluate, table.recalibrate) == ("pkg.mod:fn", "m:e", "")
    for text, words in (
        (b"a: [", "Manifest file was not a valid YAML file!"),
        (b"\xff\xfe\x00", "Manifest file was not a valid YAML file!"),
        (b"other: 1", "Entrypoints section missing from manifest file!"),
        (b"[]", "Entrypoints section missing from manifest file!"),
        (b"entrypoints: {evaluate: {module: m, function: f}}", "Prediction entrypoint missing from manifest file!"),
        (b"entrypoints: {predict: {module: m}}", "Prediction function name missing from manifest file!"),
        (b"entrypoints: {predict: {module: m, function: f}, evaluate: 3}", "Evaluation module name missing"),
        (b"!!python/object/apply:os.system ['exit 1']", "Manifest file was not a valid YAML file!"),
    ):
        with pytest.raises(ConfigError, match=words):
            settings.of_manifest(text)


@pytest.mark.parametrize(
    ("table", "flavour"),
    [
        (ModelTable(predict="m:f"), "function"),
        (ModelTable(path="artifacts/model.joblib"), "joblib"),
        (ModelTable(path="model.PKL"), "pickle"),
        (ModelTable(path="net.onnx"), "onnx"),
        (ModelTable(path="net.onnx", load="m:f", predict="m:p"), "function"),
        (ModelTable(command=["vllm", "serve"]), "command"),
        (ModelTable(path="w.pt", flavour="torch"), "torch"),
    ],
)
def test_the_flavour_is_what_answers_or_what_the_file_is(table: ModelTable, flavour: str) -> None:
    assert settings.flavour_of(table) == flavour


def test_parameters_and_metrics_that_do_not_fit_stay_with_the_job() -> None:
    table = {f"key{number:03d}": "x" * 50 for number in range(1000)}
    kept = registering._fitting(table, 1000)
    assert 0 < len(kept) < 20
    assert kept.items() <= table.items()


def test_references() -> None:
    assert models.parse("churn") == ("churn", "champion")
    assert models.parse("churn@7") == ("churn", "7")
    assert models.parse("churn@canary") == ("churn", "canary")
