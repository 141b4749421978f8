"""Adaptive search: Optuna asks and tells over the jobs of a sweep. The study lies beside the store, so it can go on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foundations_tui.analysis.aggregate import is_number
from foundations_tui.config import locations
from foundations_tui.config.schema import SearchTable
from foundations_tui.errors import FoundationsError, UsageError
from foundations_tui.jobs import watch
from foundations_tui.session import Session
from foundations_tui.store import queries
from foundations_tui.submit.pipeline import submit_all
from foundations_tui.submit.request import JobRequest
from foundations_tui.sweeps import grid

_JOB = "job"


@dataclass(frozen=True)
class Study:
    """What a search's file says."""

    name: str
    """The group of its jobs, and the name of its study."""
    metric: str
    """Metric reported to the optimizer (its last value)."""
    direction: str
    """"min" or "max"."""
    trials: int
    at_once: int
    seed: int | None
    command: tuple[str, ...]
    axes: dict[str, grid.Axis]


def read(path: Path) -> Study:
    """Return the search in the ``[search]`` table of a TOML file.

        [search]
        metric = "val_loss"
        direction = "min"
        trials = 40
        at_once = 4
        command = ["python", "train.py", "--lr", "{lr}"]
        [search.parameters]
        lr = "log:1e-5:1e-2"
        layers = "1:4"
        optimizer = ["adam", "sgd"]

    Raises:
        UsageError: it cannot be read or understood.
    """
    table = grid.read_table(path, "search", SearchTable)
    if table is None:
        raise UsageError(f"{path} has no table [search]", "foundations sweep run --help shows one")
    axes = {key: grid.axis(key, value) for key, value in table.parameters.items()}
    return Study(
        name=path.stem,
        metric=table.metric,
        direction=table.direction,
        trials=table.trials,
        at_once=table.at_once,
        seed=table.seed,
        command=tuple(table.command),
        axes=axes,
    )


@dataclass(frozen=True)
class Trial:
    """A trial that has ended."""

    number: int
    job: str
    params: dict[str, Any]
    value: float | None
    """None when its job did not complete, or logged no number."""


def run(session: Session, search: Study, base: JobRequest, told: Callable[[Trial], None]) -> Trial | None:
    """Ask, submit, wait and tell until all trials are done; return the best.

    What an earlier call has submitted is waited for and told first, so that an interrupted search goes on.

    Args:
        session: the client's.
        search: what is searched.
        base: how its jobs run: folder, host, resources.
        told: called with each trial that has ended.
    Raises:
        FoundationsError: Optuna is not installed, or a submit failed.
    """
    study = _study(search)
    open_trials = {t.user_attrs[_JOB]: t for t in study.get_trials(deepcopy=False) if _is_open(t)}
    cut_off = _cut_off(study)
    while True:
        done = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
        room = min(search.at_once - len(open_trials), search.trials - done - len(open_trials))
        for _ in range(max(0, room)):
            was_cut_off = bool(cut_off)
            trial = cut_off.pop() if was_cut_off else study.ask()
            job = _submitted(session, search, trial.number) if was_cut_off else ""
            job = job or _submit(session, search, base, trial)
            trial.set_user_attr(_JOB, job)
            open_trials[job] = trial
        if not open_trials:
            return _best(study, search)
        for job in _ended(session, list(open_trials)):
            trial = open_trials.pop(job)
            value = _value(session, search, job)
            _tell(study, trial, value)
            told(Trial(trial.number, job, dict(trial.params), value))


def _study(search: Study) -> Any:
    try:
        import optuna
    except ImportError:
        raise FoundationsError("a search needs optuna", "pip install 'foundations-tui[optuna]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=search.name,
        storage=f"sqlite:///{locations.data_folder() / 'studies.db'}",
        sampler=optuna.samplers.TPESampler(seed=search.seed),
        direction="minimize" if search.direction == "min" else "maximize",
        load_if_exists=True,
    )


def _is_open(trial: Any) -> bool:
    return not trial.state.is_finished() and _JOB in trial.user_attrs


def _cut_off(study: Any) -> list[Any]:
    """Return the trials, the last one first, that have no job: the search was interrupted before that was noted."""
    from optuna.trial import Trial as LiveTrial

    trials = study.get_trials(deepcopy=False)
    found = [trial for trial in trials if not trial.state.is_finished() and _JOB not in trial.user_attrs]
    return [LiveTrial(study, trial._trial_id) for trial in reversed(found)]


def _submitted(session: Session, search: Study, number: int) -> str:
    """Return the job of a trial of which the study does not know that it was submitted; "" for none."""
    rows = queries.jobs_of_group(session.store.conn, search.name)
    return next((row.job for row in rows if row.name == f"{search.name}-{number}"), "")


def _submit(session: Session, search: Study, base: JobRequest, trial: Any) -> str:
    params = {key: _suggest(trial, key, axis) for key, axis in search.axes.items()}
    command = grid.fill(search.command, {**base.params, **params})
    request = replace(
        base, command=command, params={**base.params, **params}, group=search.name, name=f"{search.name}-{trial.number}"
    )
    return submit_all(session, [request])[0].view.spec.job


def _suggest(trial: Any, key: str, axis: grid.Axis) -> Any:
    if isinstance(axis, grid.Values):
        return trial.suggest_categorical(key, list(axis.values))
    if isinstance(axis.low, int) and isinstance(axis.high, int):
        return trial.suggest_int(key, axis.low, axis.high, log=axis.is_log)
    return trial.suggest_float(key, axis.low, axis.high, log=axis.is_log)


def _ended(session: Session, jobs: list[str]) -> list[str]:
    """Wait until at least one of some jobs has ended, and return those that have."""
    watch.wait_for_any(session, jobs)
    rows = [queries.job(session.store.conn, job) for job in jobs]
    return [row.job for row in rows if row.is_final and row.complete]


def _value(session: Session, search: Study, job: str) -> float | None:
    row = queries.job(session.store.conn, job)
    summary = row.metrics.get(search.metric)
    is_told = row.state == "completed" and summary is not None and is_number(summary.last)
    return float(summary.last) if is_told and summary is not None else None


def _tell(study: Any, trial: Any, value: float | None) -> None:
    from optuna.trial import TrialState

    if value is None:
        study.tell(trial.number, state=TrialState.FAIL)
    else:
        study.tell(trial.number, value)


def _best(study: Any, search: Study) -> Trial | None:
    try:
        best = study.best_trial
    except ValueError:
        return None  # none has completed
    return Trial(best.number, best.user_attrs.get(_JOB, ""), dict(best.params), best.value)
