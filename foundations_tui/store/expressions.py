"""The grammar of what a user may ask for: one expression for where, sort, columns and group-by.

    state=failed and lr<1e-3 and val_loss:min<0.3 and tag:cnn and host=gpu1 and age<2d

An expression is a field (``state``), or a kind and a name (``param:lr``, ``arg:lr``, ``metric:val/loss:min``,
``tag:cnn``), or a bare name where only one kind has it. docs/queries.md is this module for users.
"""

from __future__ import annotations

import re

from msgspec import Struct

from foundations_tui.errors import UsageError

KINDS = ("param", "arg", "metric", "tag")
AGGREGATES = ("last", "first", "min", "max", "count", "step", "best")
"""What may stand behind a metric; ``last`` when nothing does."""
FLAGS = ("starred", "archived", "trashed", "final", "stalled", "nan")
_ORDERS = ("asc", "desc")
_LONGEST, _MOST_TOKENS, _DEEPEST, _MOST_COLUMNS = 10_000, 600, 60, 200
"""Bounds of what is taken: beyond them SQLite, too, says no."""
_TOKEN = re.compile(
    r"""(?P<space>\s+)
      | (?P<paren>[()])
      | (?P<op>!=|<=|>=|==|!~|=|<|>|~)
      | (?P<comma>,)
      | (?P<word>(?:"[^"]*"|'[^']*'|[^\s()<>=!~,"'])+)
      | (?P<bad>.)""",
    re.VERBOSE | re.DOTALL,
)


class QueryError(UsageError):
    """What a user asked for cannot be understood; the message shows where."""

    def __init__(self, text: str, position: int, problem: str, hint: str = "") -> None:
        """Point at a character.

        Args:
            text: all of what was asked.
            position: index of the character that is wrong.
            problem: what is wrong there.
            hint: what to do.
        """
        super().__init__(f"{problem}\n  {text}\n  {' ' * position}^", hint)
        self.problem, self.position = problem, position


class Expression(Struct, frozen=True):
    """What has a value for each job."""

    kind: str
    """One of KINDS, "field", "is", or "" for a bare name."""
    name: str
    aggregate: str = ""
    """One of AGGREGATES; empty when none was given."""
    text: str = ""
    """As the user wrote it."""
    position: int = 0
    """Where that begins."""


class Value(Struct, frozen=True):
    """The right side of a comparison."""

    text: str
    position: int
    is_quoted: bool = False
    """Then it is text, whatever it looks like."""


class Compare(Struct, frozen=True):
    """A comparison; with several values, any of them."""

    left: Expression
    op: str
    values: tuple[Value, ...]


class Exists(Struct, frozen=True):
    """Whether a job has something: ``tag:cnn``, ``param:lr``, ``is:starred``."""

    what: Expression


class TextMatch(Struct, frozen=True):
    """A bare word: in the name, command, project or tags."""

    text: str
    position: int


class Not(Struct, frozen=True):
    """What does not hold."""

    part: Node


class And(Struct, frozen=True):
    """All of several conditions."""

    parts: tuple[Node, ...] = ()


class Or(Struct, frozen=True):
    """One of several conditions."""

    parts: tuple[Node, ...]


Node = Compare | Exists | TextMatch | Not | And | Or


class _Token(Struct, frozen=True):
    kind: str
    text: str
    position: int


def parse_query(text: str) -> Node:
    """Return the conditions of a query; an empty one holds for every job.

    Raises:
        QueryError: it cannot be understood; the message points at the place.
    """
    return _Parser(text).query()


def parse_expression(text: str, position: int = 0, whole: str = "") -> Expression:
    """Return one expression.

    Args:
        text: what a user wrote.
        position: where it begins in the whole.
        whole: what it is a part of, for messages.
    Raises:
        QueryError: it names nothing.
    """
    whole = whole or text
    parts = _split(text)
    if not any(part for part, _ in parts):
        raise QueryError(whole, position, "a name is needed here")
    kind, aggregate = "", ""
    first, is_quoted = parts[0]
    if len(parts) > 1 and not is_quoted and first in (*KINDS, "is"):
        kind, parts = first, parts[1:]
    if len(parts) > 1 and not parts[-1][1] and parts[-1][0] in AGGREGATES and kind in ("", "metric"):
        aggregate, parts = parts[-1][0], parts[:-1]
    name = ":".join(part for part, _ in parts)
    if kind == "is" and name not in FLAGS:
        raise QueryError(whole, position, f"is:{name} is not known", f"known: {', '.join('is:' + f for f in FLAGS)}")
    if not kind and not aggregate and not parts[0][1] and name in FIELDS:
        kind = "field"
    return Expression(kind, name, aggregate, text, position)


def parse_sort(text: str) -> tuple[Expression, bool | None]:
    """Return an expression and whether it is descending (``:desc``), or None if it gives no order.

    Raises:
        QueryError: it names nothing.
    """
    for order in _ORDERS:
        if text.endswith(":" + order):
            return parse_expression(text[: -len(order) - 1]), order == "desc"
    return parse_expression(text), None


def parse_columns(text: str) -> list[Expression]:
    """Return the expressions of a list with commas.

    Raises:
        QueryError: one names nothing.
    """
    columns, start = [], 0
    for token in [*_tokens(text), _Token("comma", ",", len(text))]:
        if token.kind == "comma":
            part = text[start : token.position]
            columns.append(parse_expression(part.strip(), start, text))
            start = token.position + 1
    if len(columns) > _MOST_COLUMNS:
        raise QueryError(text[:60] + "...", 0, f"at most {_MOST_COLUMNS} columns")
    return columns


class Field(Struct, frozen=True):
    """What every job has."""

    kind: str
    """"text", "state", "number", "duration" (seconds) or "time"."""
    words: str
    """What it is, for the help."""


FIELDS = {
    "job": Field("text", "its id"),
    "name": Field("text", "its name"),
    "project": Field("text", "its project"),
    "host": Field("text", "where it runs"),
    "owner": Field("text", "whose it is"),
    "group": Field("text", "its group or sweep"),
    "state": Field("state", "queued, running, completed, failed, stopped, lost and so on"),
    "reason": Field("text", "why it waits, or how it ended"),
    "command": Field("text", "its command line"),
    "note": Field("text", "its note"),
    "snapshot": Field("text", "the id of its code"),
    "exit": Field("number", "its exit code"),
    "attempt": Field("number", "the number of its attempt"),
    "gpus": Field("number", "how many GPUs it asked for"),
    "cpus": Field("number", "how many CPUs it asked for"),
    "priority": Field("number", "its priority"),
    "age": Field("duration", "time since it was submitted"),
    "duration": Field("duration", "how long it ran"),
    "created": Field("time", "when it was submitted"),
    "started": Field("time", "when it started"),
    "ended": Field("time", "when it ended"),
}


class _Parser:
    """Recursive descent: or, and, not, then one condition. Words side by side are joined by and."""

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _LONGEST:
            raise QueryError(text[:60] + "...", 0, f"a query has at most {_LONGEST:,} characters")
        self.tokens = _tokens(text)
        if len(self.tokens) > _MOST_TOKENS:
            place = self.tokens[_MOST_TOKENS].position
            raise QueryError(text[place : place + 60], 0, f"a query has at most {_MOST_TOKENS} words")
        self.at = 0
        self.depth = 0

    def query(self) -> Node:
        if not self.tokens:
            return And()
        node = self._either()
        token = self._peek()
        if token is not None:
            raise self._error(token.position, "this ')' closes nothing" if token.text == ")" else "not expected here")
        return node

    def _either(self) -> Node:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self) -> Node:
        parts = [self._one()]
        while (token := self._peek()) is not None and token.text != ")" and not self._is(token, "or"):
            self._takes("and")
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Node:
        token = self._take("a condition is needed here")
        self.depth += 1
        if self.depth > _DEEPEST:
            raise self._error(token.position, f"a query is nested at most {_DEEPEST} deep")
        node = self._beginning_with(token)
        self.depth -= 1
        return node

    def _beginning_with(self, token: _Token) -> Node:
        if self._is(token, "not"):
            return Not(self._one())
        if token.text == "(":
            inner = self._either()
            if (closing := self._peek()) is None or closing.text != ")":
                raise self._error(token.position, "this '(' is not closed")
            self.at += 1
            return inner
        if token.kind != "word" or self._is(token, "and") or self._is(token, "or"):
            raise self._error(token.position, "a condition is needed here")
        following = self._peek()
        if following is not None and following.kind == "op":
            self.at += 1
            return self._comparison(token, following)
        expression = parse_expression(token.text, token.position, self.text)
        if expression.kind in (*KINDS, "is"):
            return Exists(expression)
        return TextMatch(_unquoted(token.text), token.position)

    def _comparison(self, left: _Token, op: _Token) -> Compare:
        expression = parse_expression(left.text, left.position, self.text)
        if expression.kind == "is":
            raise self._error(op.position, f"{left.text} stands alone, or behind not")
        values = [self._value(op)]
        while (token := self._peek()) is not None and token.kind == "comma":
            self.at += 1
            values.append(self._value(op))
        op_text = "=" if op.text == "==" else op.text
        if len(values) > 1 and op_text not in ("=", "!=", "~", "!~"):
            raise self._error(values[1].position, f"{op.text} takes one value")
        return Compare(expression, op_text, tuple(values))

    def _value(self, op: _Token) -> Value:
        token = self._peek()
        if token is None or token.kind != "word":
            raise self._error(op.position + len(op.text), f"a value is needed behind {op.text}")
        self.at += 1
        return Value(_unquoted(token.text), token.position, token.text[0] in "\"'")

    def _peek(self) -> _Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _take(self, problem: str) -> _Token:
        token = self._peek()
        if token is None:
            raise self._error(len(self.text), problem)
        self.at += 1
        return token

    def _takes(self, word: str) -> bool:
        token = self._peek()
        if token is not None and self._is(token, word):
            self.at += 1
            return True
        return False

    @staticmethod
    def _is(token: _Token, word: str) -> bool:
        return token.kind == "word" and token.text.lower() == word

    def _error(self, position: int, problem: str) -> QueryError:
        return QueryError(self.text, position, problem)


def _tokens(text: str) -> list[_Token]:
    tokens = []
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "bad"
        if kind == "bad":
            problem = "this quote is not closed" if match[0] in "\"'" else "not expected here"
            raise QueryError(text, match.start(), problem)
        if kind != "space":
            tokens.append(_Token(kind, match[0], match.start()))
    return tokens


def _split(text: str) -> list[tuple[str, bool]]:
    """Return (part, whether it was quoted) between the colons that stand outside quotes."""
    parts = []
    for part in re.findall(r"""(?:"[^"]*"|'[^']*'|[^:"'])+|(?<=:)(?=:|\Z)|\A(?=:)""", text):
        parts.append((_unquoted(part), part[:1] in ('"', "'")))
    return parts


def _unquoted(text: str) -> str:
    return re.sub(r""""([^"]*)"|'([^']*)'""", lambda match: match[1] or match[2] or "", text)
