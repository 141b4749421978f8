"""Expressions and queries as SQL over the store's tables, every value a parameter.

A compiled expression is a piece of SQL over ``jobs j``: what it sorts and compares by, and what it shows.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import sqlite3
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from foundations_tui.store import series
from foundations_tui.store.expressions import (
    FIELDS,
    And,
    Compare,
    Exists,
    Expression,
    Node,
    Not,
    Or,
    QueryError,
    TextMatch,
    Value,
    parse_query,
)
from foundations_tui.store.rows import PATIENCE
from foundations_tui.text import humanize
from foundations_tui.text.command_line import literal, number
from remote_agent.protocol.states import JobState

_FIELD_SQL = {
    "job": "j.job",
    "name": "j.name",
    "project": "j.project",
    "host": "j.host",
    "owner": "j.owner",
    "group": "j.group_name",
    "state": "j.state",
    "reason": "j.reason",
    "command": "j.command",
    "note": "j.note",
    "snapshot": "j.snapshot",
    "exit": "j.exit_code",
    "attempt": "j.attempt",
    "gpus": "j.gpus_requested",
    "cpus": "j.cpus",
    "priority": "j.priority",
    "age": "(?now - j.created_at)",
    "duration": "(COALESCE(j.ended_at, ?now) - j.started_at)",
    "created": "j.created_at",
    "started": "j.started_at",
    "ended": "j.ended_at",
}
_QUIET_SINCE = "MAX(COALESCE(a.at, 0), COALESCE(j.started_at, 0))"
STALLED_SINCE = (
    "CASE WHEN j.state = 'running' AND h.unreachable_since IS NULL"
    " AND COALESCE(json_extract(j.spec, '$.kind'), 'batch') = 'batch'"
    f" AND h.sizes_at - {_QUIET_SINCE} > COALESCE(a.patience, {PATIENCE}) THEN {_QUIET_SINCE} END"
)
"""Since when a job that runs has been silent for longer than it ever is; over jobs j, hosts h and activity a."""
_FLAG_SQL = {
    "stalled": (
        "j.state = 'running' AND (SELECT " + STALLED_SINCE + " FROM hosts h LEFT JOIN activity a ON a.job = j.job"
        " WHERE h.name = j.host) IS NOT NULL"
    ),
    "nan": "EXISTS (SELECT 1 FROM stories t WHERE t.job = j.job AND t.story ->> 'code' = 'not_finite')",
    "starred": "j.starred = 1",
    "archived": "j.archived = 1",
    "trashed": "j.trashed > 0",
    "final": "j.state IN ('completed', 'failed', 'stopped', 'lost')",
}
_NOT_FINITE = {
    **dict.fromkeys(("inf", "+inf", "infinity"), math.inf),
    **dict.fromkeys(("-inf", "-infinity"), -math.inf),
    "nan": math.nan,
}
"""What is no finite number, as Python and JSON write it."""
_FACT_KINDS = ("param", "arg", "tag")


@dataclass(frozen=True)
class Sql:
    """A piece of SQL and its arguments."""

    text: str
    args: tuple[Any, ...] = ()

    def __add__(self, other: Sql) -> Sql:
        return Sql(self.text + other.text, self.args + other.args)


@dataclass(frozen=True)
class ResolvedExpression:
    """What an expression stands for in this store: kinds that are taken in this order, the first that a job has."""

    expression: Expression
    kinds: tuple[str, ...]
    aggregate: str = ""


_BARE = (("param", "arg"), ("metric",), ("tag",))
"""What a bare name may be, the first that any job has; a field was found before."""


def _numeric(column: str) -> str:
    """Return the SQL of a metric's first or last value as a number: infinities are numbers, NaN alone is none."""
    return (
        f"CASE WHEN typeof({column}) IN ('integer', 'real') THEN {column} WHEN {column} = 'Infinity' THEN 9e999"
        f" WHEN {column} = '-Infinity' THEN -9e999 WHEN typeof({column}) = 'blob' THEN CAST({column} AS REAL) END"
    )


class KnownNames:
    """The parameters, arguments, metrics and tags that jobs of one store have."""

    def __init__(self, conn: sqlite3.Connection) -> None:
        self._conn = conn

    def has_fact(self, kind: str, key: str) -> bool:
        """Return whether any job has such a parameter, argument or tag."""
        query = "SELECT 1 FROM facts WHERE kind = ? AND key = ? LIMIT 1"
        return self._conn.execute(query, [kind, key]).fetchone() is not None

    def has_metric(self, key: str) -> bool:
        """Return whether any job has such a metric."""
        return self._conn.execute("SELECT 1 FROM series WHERE key = ? LIMIT 1", [key]).fetchone() is not None

    def nearest(self, name: str) -> str:
        """Return a hint for a name that no job has."""
        candidates = [*FIELDS, *(key for _, key in self.all())]
        near = difflib.get_close_matches(name, candidates, 1)
        return f"did you mean {near[0]!r}?" if near else "foundations jobs --columns help lists what there is"

    def all(self) -> list[tuple[str, str]]:
        """Return (kind, name) of each; a name costs one look into an index."""
        names = []
        for kind in _FACT_KINDS:
            names += [(kind, key) for key in self._distinct("facts WHERE kind = ? AND", [kind])]
        return names + [("metric", key) for key in self._distinct("series WHERE", [])]

    def _distinct(self, source: str, args: list[Any]) -> list[str]:
        query = (
            f"WITH RECURSIVE k(key) AS (SELECT (SELECT MIN(key) FROM {source} 1) UNION ALL"
            f" SELECT (SELECT MIN(key) FROM {source} key > k.key) FROM k WHERE k.key IS NOT NULL)"
            " SELECT key FROM k WHERE key IS NOT NULL LIMIT 10000"
        )
        return [row[0] for row in self._conn.execute(query, args + args)]


class QueryCompiler:
    """Compiles what a user asked for against one store."""

    def __init__(
        self, conn: sqlite3.Connection, directions: Mapping[str, str] | None = None, now: float | None = None
    ) -> None:
        """Make one.

        Args:
            conn: a connection of the store: bare names are looked up there.
            directions: "min" or "max" of metrics, for ``:best``.
            now: seconds since the epoch; the clock's when not given.
        """
        self._conn = conn
        self._names = KnownNames(conn)
        self._directions = directions or {}
        self._now = time.time() if now is None else now

    # --- what is meant ----------------------------------------------------------------------------------------

    def meaning(self, expression: Expression, whole: str = "") -> ResolvedExpression:
        """Return what an expression stands for.

        A bare name is a parameter or an argument (what the script said, else its command line), else a metric, else a
        tag: what a project logs later never changes what an earlier kind means.

        Raises:
            QueryError: no job has such a thing.
        """
        whole = whole or expression.text
        if expression.kind:
            if expression.kind in ("field", "is"):
                return ResolvedExpression(expression, (expression.kind,))
            return ResolvedExpression(expression, (expression.kind,), self._aggregate(expression, whole))
        for kinds in _BARE:
            known_kinds = tuple(kind for kind in kinds if self._is_known(kind, expression))
            if known_kinds:
                return ResolvedExpression(
                    expression, known_kinds, self._aggregate(expression, whole) if known_kinds == ("metric",) else ""
                )
        problem = f"no job has a parameter, argument, metric or tag {expression.name!r}"
        raise QueryError(whole, expression.position, problem, self._names.nearest(expression.name))

    def _is_known(self, kind: str, expression: Expression) -> bool:
        if kind == "metric":
            return self._names.has_metric(expression.name)
        return not expression.aggregate and self._names.has_fact(kind, expression.name)

    def _aggregate(self, expression: Expression, whole: str) -> str:
        if expression.aggregate != "best":
            return expression.aggregate or "last"
        if expression.name not in self._directions:
            hint = f'in foundations.toml: [metrics.direction] "{expression.name}" = "min"'
            raise QueryError(whole, expression.position, f"which {expression.name!r} is best is not known", hint)
        return self._directions[expression.name]

    # --- values -----------------------------------------------------------------------------------------------

    def number(self, meaning: ResolvedExpression) -> Sql:
        """Return the SQL of an expression's value as a number; NULL where it is none."""
        if meaning.kinds == ("field",):
            return self._field(meaning.expression.name)
        return self._first([self._lookup(meaning, kind, "number") for kind in meaning.kinds])

    def shown(self, meaning: ResolvedExpression) -> Sql:
        """Return the SQL of what is shown of an expression: JSON of a fact, else the value itself."""
        if meaning.kinds == ("field",):
            return self._field(meaning.expression.name)
        if meaning.kinds == ("is",):
            return Sql(_FLAG_SQL[meaning.expression.name])
        return self._first([self._lookup(meaning, kind, "value") for kind in meaning.kinds])

    def order(self, expression: Expression, descending: bool) -> Sql:
        """Return an ORDER BY: numbers, then text, then what has no value, whichever way the numbers go."""
        meaning = self.meaning(expression)
        if meaning.kinds == ("field",):
            if expression.name == "age":  # as an index has it
                return Sql(f"j.created_at {'ASC' if descending else 'DESC'}")
            return self._field(expression.name) + _way(descending)
        number = self.number(meaning) + _way(descending)
        if not self._has_text(meaning):
            return number
        return number + Sql(", ") + self.shown(meaning) + _way(descending)

    def _has_text(self, meaning: ResolvedExpression) -> bool:
        """Return whether anything besides numbers is to be sorted: looking costs less than sorting by it."""
        if meaning.kinds == ("metric",):
            if meaning.aggregate not in ("first", "last"):
                return False
            query = f"SELECT 1 FROM series WHERE key = ? AND {_numeric(meaning.aggregate)} IS NULL LIMIT 1"
            return self._conn.execute(query, [meaning.expression.name]).fetchone() is not None
        query = "SELECT 1 FROM facts WHERE kind = ? AND key = ? AND number IS NULL LIMIT 1"
        name = meaning.expression.name
        return any(self._conn.execute(query, [kind, name]).fetchone() for kind in meaning.kinds)

    def _field(self, name: str) -> Sql:
        text = _FIELD_SQL[name]
        return Sql(text.replace("?now", "?"), (self._now,) * text.count("?now"))

    @staticmethod
    def _first(parts: list[Sql]) -> Sql:
        if len(parts) == 1:
            return parts[0]
        return Sql(f"COALESCE({', '.join(p.text for p in parts)})", tuple(a for p in parts for a in p.args))

    @staticmethod
    def _lookup(meaning: ResolvedExpression, kind: str, what: str) -> Sql:
        name = meaning.expression.name
        if kind == "metric":
            column = meaning.aggregate
            if what == "number" and column in ("first", "last"):
                column = _numeric(column)
            query = f"(SELECT {column} FROM series WHERE key = ? AND job = j.job AND attempt = j.attempt)"
            return Sql(query, (name,))
        return Sql(f"(SELECT {what} FROM facts WHERE kind = ? AND key = ? AND job = j.job)", (kind, name))

    # --- conditions -------------------------------------------------------------------------------------------

    def where(self, query: str) -> Sql:
        """Return the condition of a query over ``jobs j``.

        Raises:
            QueryError: it cannot be understood.
        """
        return self._node(parse_query(query), query)

    def _node(self, node: Node, whole: str) -> Sql:
        if isinstance(node, Not):
            part = self._node(node.part, whole)  # whose value is not known does not hold, and its contrary does
            return Sql(f"NOT COALESCE(({part.text}), 0)", part.args)
        if isinstance(node, And | Or):
            parts = [self._node(part, whole) for part in node.parts]
            joint = " AND " if isinstance(node, And) else " OR "
            return Sql(joint.join(f"({p.text})" for p in parts) or "1", tuple(a for p in parts for a in p.args))
        if isinstance(node, Exists):
            return self._has(node)
        if isinstance(node, TextMatch):
            return self._word(node.text)
        return self._compare(node, whole)

    @staticmethod
    def _has(node: Exists) -> Sql:
        what = node.what
        if what.kind == "is":
            return Sql(_FLAG_SQL[what.name])
        if what.kind == "metric":
            return Sql("EXISTS (SELECT 1 FROM series WHERE key = ? AND job = j.job)", (what.name,))
        condition = "kind = ? AND key = ? AND job = j.job AND value != 'null'"
        return Sql(f"EXISTS (SELECT 1 FROM facts WHERE {condition})", (what.kind, what.name))

    @staticmethod
    def _word(word: str) -> Sql:
        plain, in_json = like(word), like(json.dumps(word)[1:-1])
        escaped = "LIKE ? ESCAPE '\\'"
        text = (
            f"j.name {escaped} OR j.project {escaped} OR j.command {escaped} OR j.job LIKE ? ESCAPE '\\'"
            f" OR j.job IN (SELECT job FROM facts WHERE kind = 'tag' AND (key {escaped} OR value {escaped}))"
        )
        return Sql(text, (plain, plain, in_json, plain[1:], plain, in_json))

    def _compare(self, node: Compare, whole: str) -> Sql:
        meaning = self.meaning(node.left, whole)
        parts = [self._one_value(meaning, node, value, whole) for value in node.values]
        is_negative = node.op.startswith("!")
        joint = " AND " if is_negative else " OR "
        return Sql(joint.join(f"({p.text})" for p in parts), tuple(a for p in parts for a in p.args))

    def _one_value(self, meaning: ResolvedExpression, node: Compare, value: Value, whole: str) -> Sql:
        if meaning.kinds == ("field",):
            return self._field_value(node, value, whole)
        if node.op in ("~", "!~"):
            shown = self.shown(meaning)
            is_metric = meaning.kinds == ("metric",)
            return self._contains(shown, node.op, value.text if is_metric else json.dumps(value.text)[1:-1])
        compared = value.text if value.is_quoted else _NOT_FINITE.get(value.text.lower(), literal(value.text))
        if node.op in ("=", "!="):
            if isinstance(compared, list) and meaning.kinds == ("metric",):
                raise QueryError(whole, value.position, "a metric has one value at a time")
            return self._equal(meaning, node.op, compared)
        if isinstance(compared, str) and not value.is_quoted:
            compared = number(compared)  # an id such as 007 compares as a number all the same
        if not _is_number(compared):
            raise QueryError(whole, value.position, f"{node.op} needs a number")
        if compared != compared:
            return Sql("0")  # nothing is larger than NaN, or smaller
        return self._compared(meaning, node.op, _float(compared))

    def _compared(self, meaning: ResolvedExpression, op: str, limit: float) -> Sql:
        """Return a comparison of numbers; one kind is looked through in one go: much faster than job by job."""
        name = meaning.expression.name
        if meaning.kinds == ("metric",):
            column = meaning.aggregate
            condition = f"{_numeric(column) if column in ('first', 'last') else column} {op} ?"
            chosen = f"(SELECT job, attempt FROM series WHERE key = ? AND {condition})"
            return Sql(f"(j.job, j.attempt) IN {chosen}", (name, limit))
        if len(meaning.kinds) == 1:
            chosen = f"(SELECT job FROM facts WHERE kind = ? AND key = ? AND number {op} ?)"
            return Sql(f"j.job IN {chosen}", (meaning.kinds[0], name, limit))
        value = self.number(meaning)
        return Sql(f"{value.text} {op} ?", (*value.args, limit))

    def _equal(self, meaning: ResolvedExpression, op: str, compared: Any) -> Sql:
        """Return whether a value is this one, or with != is there and is another one."""
        name, is_metric = meaning.expression.name, meaning.kinds == ("metric",)
        same = (
            [series.to_column(compared)]
            if is_metric
            else list(dict.fromkeys([json.dumps(compared), json.dumps(str(compared))]))
        )
        column = meaning.aggregate if is_metric else "value"
        condition = f"{column} IN ({','.join('?' * len(same))})"
        if _is_number(compared) and not is_metric:
            condition, same = f"(number = ? OR {condition})", [_float(compared), *same]
        if op == "!=":
            condition = f"NOT COALESCE({condition}, 0) AND {column} IS NOT NULL"
        if is_metric:
            chosen = f"(SELECT job, attempt FROM series WHERE key = ? AND {condition})"
            return Sql(f"(j.job, j.attempt) IN {chosen}", (name, *same))
        parts, behind = [], Sql("")
        for kind in meaning.kinds:  # what the script said goes before the command line
            chosen = f"j.job IN (SELECT job FROM facts WHERE kind = ? AND key = ? AND {condition})"
            parts.append(Sql(chosen, (kind, name, *same)) + behind)
            behind = Sql(" AND j.job NOT IN (SELECT job FROM facts WHERE kind = ? AND key = ?)", (kind, name))
        return Sql(" OR ".join(f"({p.text})" for p in parts), tuple(a for p in parts for a in p.args))

    @staticmethod
    def _contains(value: Sql, op: str, text: str) -> Sql:
        word = "LIKE" if op == "~" else "NOT LIKE"
        return Sql(f"{value.text} {word} ? ESCAPE '\\'", (*value.args, like(text)))

    def _field_value(self, node: Compare, value: Value, whole: str) -> Sql:
        name, field = node.left.name, FIELDS[node.left.name]
        sql = self._field(name)
        if field.kind in ("text", "state"):
            return self._text_field(node, value, whole, sql)
        if node.op in ("~", "!~"):
            raise QueryError(whole, node.left.position, f"{name} is no text: {node.op} does not go with it")
        readers: dict[str, Callable[[str], float]] = {
            "number": float,
            "duration": humanize.parse_duration,
            "time": self._moment,
        }
        expected = {"number": "a number", "duration": "a time such as 90s, 45m, 2h30m or 3d", "time": _WHEN}[field.kind]
        if field.kind == "time" and node.op in ("=", "!=") and _DAY.match(value.text):
            return self._on_day(node.op, value, sql, whole)
        try:
            number = readers[field.kind](value.text)
        except (ValueError, OverflowError):
            raise QueryError(whole, value.position, f"{name} is compared with {expected}") from None
        return Sql(f"{sql.text} {node.op} ?", (*sql.args, number))

    @staticmethod
    def _text_field(node: Compare, value: Value, whole: str, sql: Sql) -> Sql:
        name, text = node.left.name, value.text
        if node.op in ("<", "<=", ">", ">="):
            raise QueryError(whole, value.position, f"{name} is text: = != ~ !~ go with it")
        if FIELDS[name].kind == "state" and node.op in ("=", "!="):
            states = [state.value for state in JobState]
            if text not in states:
                near = difflib.get_close_matches(text, states, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"states: {', '.join(states)}"
                raise QueryError(whole, value.position, f"there is no state {text!r}", hint)
        if name == "command":
            text = json.dumps(text)[1:-1]
        if node.op in ("~", "!~"):
            return QueryCompiler._contains(sql, node.op, text)
        if name in ("job", "snapshot"):
            word = "LIKE" if node.op == "=" else "NOT LIKE"
            return Sql(f"{sql.text} {word} ? ESCAPE '\\'", (*sql.args, like(text)[1:]))
        return Sql(f"{sql.text} {node.op} ?", (*sql.args, text))

    @staticmethod
    def _on_day(op: str, value: Value, sql: Sql, whole: str) -> Sql:
        """Return whether a time is on a day, by the clock of this place."""
        try:
            begin = datetime.fromisoformat(value.text)
        except ValueError:
            raise QueryError(whole, value.position, f"{value.text} is no day") from None
        ends = (begin.timestamp(), (begin + timedelta(days=1)).timestamp())
        return Sql(
            f"({'' if op == '=' else 'NOT '}({sql.text} >= ? AND {sql.text} < ?))",
            (*sql.args, ends[0], *sql.args, ends[1]),
        )

    def _moment(self, text: str) -> float:
        """Return a point in time: a date, a date and time, or a span before now."""
        if re.match(r"\d{4}-", text):
            return datetime.fromisoformat(text).timestamp()
        return self._now - humanize.parse_duration(text)


_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_WHEN = "a date (2026-11-01), a time (2026-11-01T14:30) or a span before now (2d)"


def _float(number: Any) -> float:
    finite = series.number_of(number)
    return 0.0 if finite is None else finite


def _way(descending: bool) -> Sql:
    return Sql(" DESC NULLS LAST" if descending else " ASC NULLS LAST")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def like(text: str) -> str:
    """Return the LIKE pattern (ESCAPE '\\') of what contains a text; without its first character, of what begins so."""
    return "%" + text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
