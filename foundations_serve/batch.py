"""Predictions for the rows of a file, shard by shard; what was cut goes on where it stopped.

OUT/part-2-of-8.jsonl      the results of one shard, a JSON value a row, in the order of the rows
OUT/part-2-of-8.progress   how many rows of it are there for good, and how many bytes those are
"""

from __future__ import annotations

import csv
import inspect
import json
import os
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Tuple

from foundations_serve import invocations, loaders, signature, tensors
from foundations_serve.calling import log_trace, words_of
from foundations_serve.errors import BadInput, Failed, ServeError
from foundations_serve.loaders import ONE_INPUT, Inputs, Predict
from foundations_serve.manifest import Manifest

_FORMATS = (".csv", ".jsonl", ".ndjson", ".parquet")


def predict_file(manifest: Manifest, source: str, out: str, shard: str, chunk: int) -> None:
    """Write a model's answers for one shard of a file.

    Args:
        manifest: the model.
        source: a CSV file with a first line of names, JSON lines, or Parquet.
        out: a folder.
        shard: which part of the rows: "2/8".
        chunk: rows that are computed together.
    Raises:
        BadInput: the file makes no sense. CannotLoad: the model cannot be loaded.
    """
    number, count = _shard(shard)
    path = os.path.join(out, f"part-{number}-of-{count}.jsonl")
    os.makedirs(out, exist_ok=True)
    done = _resumed(path)
    first, last = _range(_count(source), number, count)
    if first + done >= last:
        print(f"shard {shard}: all {last - first:,} rows are there")
        _touch(path)
        return
    predict = loaders.load(manifest)
    answer = Answering(lambda inputs: predict(signature.fitted(manifest.signature, inputs)))
    with open(path, "ab") as file:
        for rows in _chunks(_rows(source, first + done, last), chunk):
            lines = [json.dumps(result).encode() + b"\n" for result in answer.rows(rows, first + done + 1)]
            file.write(b"".join(lines))
            file.flush()
            os.fsync(file.fileno())
            done += len(rows)
            _note(path, done, file.tell())
            print(f"shard {shard}: {done:,}/{last - first:,} rows", flush=True)


def _shard(text: str) -> Tuple[int, int]:
    number, _, count = text.partition("/")
    if not (number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise BadInput(f"a shard is like 2/8, not {text!r}")
    return int(number), int(count)


def _range(rows: int, number: int, count: int) -> Tuple[int, int]:
    return rows * (number - 1) // count, rows * number // count


def _resumed(path: str) -> int:
    """Return how many rows are there, and cut what was written behind them when it was interrupted."""
    try:
        with open(f"{path[: -len('.jsonl')]}.progress", encoding="ascii") as file:
            told = json.load(file)
        os.truncate(path, told["bytes"])
        return int(told["rows"])
    except (OSError, ValueError, KeyError, TypeError):
        if os.path.exists(path):
            os.truncate(path, 0)
        return 0


def _note(path: str, rows: int, size: int) -> None:
    target = f"{path[: -len('.jsonl')]}.progress"
    with open(f"{target}.tmp", "w", encoding="ascii") as file:
        json.dump({"rows": rows, "bytes": size}, file)
    os.replace(f"{target}.tmp", target)


def _touch(path: str) -> None:
    with open(path, "ab"):
        pass


# --- rows ---------------------------------------------------------------------------------------------------------


def _count(source: str) -> int:
    """Return how many rows a file has."""
    if source.endswith(".parquet"):
        return int(_parquet(source).metadata.num_rows)
    return sum(1 for _ in _rows(source, 0, None))


def _rows(source: str, first: int, last: Any) -> Iterator[Any]:
    """Yield rows: tables by name, or whatever a line of JSON is.

    Raises:
        BadInput: the file makes no sense.
    """
    ending = os.path.splitext(source)[1].lower()
    if ending not in _FORMATS:
        raise BadInput(f"{source}: rows are read from {', '.join(_FORMATS)}")
    readers: Dict[str, Callable[[str], Iterator[Any]]] = {".csv": _of_csv, ".parquet": _of_parquet}
    reader = readers.get(ending, _of_json_lines)
    try:
        for place, row in enumerate(reader(source)):
            if last is not None and place >= last:
                return
            if place >= first:
                yield row
    except UnicodeDecodeError as error:
        raise BadInput(f"{source} is not UTF-8: {error.reason} at byte {error.start:,}") from None
    except csv.Error as error:
        raise BadInput(f"{source}: {error}") from None


def _of_csv(source: str) -> Iterator[Dict[str, Any]]:
    with open(source, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file)
        names = next(lines, [])
        if len(set(names)) != len(names):
            raise BadInput(f"{source}: two columns have one name")
        for number, words in enumerate(filter(None, lines), 2):
            if len(words) != len(names):
                raise BadInput(f"{source}, row {number}: {len(words)} values, and {len(names)} names")
            yield {name: invocations.number(word) for name, word in zip(names, words)}


def _of_json_lines(source: str) -> Iterator[Any]:
    with open(source, encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise BadInput(f"{source}, line {number}: {error}") from None


def _of_parquet(source: str) -> Iterator[Dict[str, Any]]:
    for batch in _parquet(source).iter_batches():
        yield from batch.to_pylist()


def _parquet(source: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError:
        raise BadInput("Parquet needs pyarrow in the environment of the model") from None
    try:
        return parquet.ParquetFile(source)
    except (OSError, ValueError) as error:  # pyarrow's own are of these
        raise BadInput(f"{source}: {str(error)[:300]}") from None


def _chunks(rows: Iterator[Any], size: int) -> Iterator[List[Any]]:
    chunk: List[Any] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) >= size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


class Answering:
    """Answers for rows: many computed together where the model gives the same as for each alone, else one by one."""

    def __init__(self, predict: Predict) -> None:
        self._predict = predict
        self._is_together: Optional[bool] = None
        """Whether rows are computed together; None before the first ones have shown it."""

    def rows(self, rows: Sequence[Any], first: int = 1) -> List[Any]:
        """Return an answer for each row.

        Args:
            rows: some rows.
            first: the number of the first one.
        Raises:
            Failed: the model has none for a row, which is named.
        """
        if self._is_together is None and len(rows) > 1:
            self._is_together = self._shows(rows[:_TRIED], first)
        if self._is_together:
            together = self._together(rows)
            if together is not None:
                return together
        return [self._answer(number, row) for number, row in enumerate(rows, first)]

    def _answer(self, number: int, row: Any) -> Any:
        try:
            return self._alone(row)
        except ServeError as error:
            raise Failed(f"row {number}: {error}") from None
        except Exception as error:
            log_trace(error)
            raise Failed(f"row {number}: {words_of(error)}") from None

    def _shows(self, rows: Sequence[Any], first: int) -> bool:
        """Return whether a model gives for rows together what it gives for each."""
        return self._together(rows) == [self._answer(number, row) for number, row in enumerate(rows, first)]

    def _together(self, rows: Sequence[Any]) -> Optional[List[Any]]:
        """Return the answers for rows that are computed together; None where that cannot be."""
        try:
            result = _by_row(self._predict(_columns(rows)), len(rows))
        except Exception as error:
            print(f"rows are computed one by one: {type(error).__name__}: {error}"[:500])
            return None
        return result if isinstance(result, list) and len(result) == len(rows) else None

    def _alone(self, row: Any) -> Any:
        result = self._predict(dict(row) if isinstance(row, dict) else {ONE_INPUT: signature.as_input(row)})
        return tensors.plain(list(result) if inspect.isgenerator(result) else result)


_TRIED = 4
"""Rows by which it is seen whether they can be computed together."""


def _columns(rows: Sequence[Any]) -> Inputs:
    """Return rows as inputs: one a name, or a single one.

    Raises:
        BadInput: they have different names.
    """
    if not all(isinstance(row, dict) for row in rows):
        return {ONE_INPUT: signature.as_input(list(rows))}
    return invocations.inputs_of_records(list(rows))


def _by_row(result: Any, count: int) -> Any:
    """Return a result by rows: a table of columns becomes a table a row."""
    if not isinstance(result, dict):
        return None if inspect.isgenerator(result) else tensors.plain(result)
    columns = {name: tensors.plain(column) for name, column in result.items()}
    if any(not isinstance(column, list) or len(column) != count for column in columns.values()):
        return None
    return [{name: column[place] for name, column in columns.items()} for place in range(count)]
