"""Data contracts: what is kept of training data, and whether other data is like it. Only the standard library.

Distances over fixed bins with a least number of rows: small samples differ from anything.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from typing import Any, Dict, Iterable, List, Optional, Union

from foundations import artifacts, run
from foundations.contracts import checks, profiles, tables
from foundations.contracts.checks import CRITICAL, HEALTHY, WARNING
from foundations.contracts.profiles import MOST_BINS, Profile

__all__ = ["DataContract", "Report", "keep_data_contract"]
FORMAT = "foundations-contract"
VERSION = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._ -]{0,99}\Z")
_ENDING = ".contract.json"
_BINS = 10


class Options:
    """Which tests are made, and from how many rows on."""

    def __init__(self, **own: Any) -> None:
        self.check_schema = True
        self.check_row_count = False
        self.row_count_threshold = 0.1
        """The number of rows may differ by less than this share."""
        self.check_special_values = True
        self.check_distribution = True
        self.check_min_max = True
        self.check_domain = True
        self.check_uniqueness = True
        self.least_rows = 100
        """With fewer, distributions and shares are not judged: what is critical is a warning."""
        for name, value in own.items():
            if name in vars(self):
                setattr(self, name, value)


class Report:
    """What a validation has found."""

    def __init__(self, told: "Dict[str, Any]") -> None:
        """Take what was found, as JSON can carry it."""
        self._told = told

    def to_dict(self) -> "Dict[str, Any]":
        """Return all of it, as JSON can carry it."""
        return self._told

    @property
    def is_healthy(self) -> bool:
        """Whether nothing is critical."""
        return not self._told["summary"][CRITICAL]

    @property
    def critical(self) -> "List[str]":
        """The columns of which something is critical; "schema" and "row_count" for those."""
        return list(self._told["critical_attributes"])

    def __str__(self) -> str:
        """Return it as lines for people: what is critical first."""
        told = self._told
        lines = [
            "%s: %s of %d rows (%d in training)"
            % (told["contract"], "healthy" if self.is_healthy else "CRITICAL", told["rows"], told["expected_rows"])
        ]
        lines += ["schema: " + words for words in told["schema"]["words"]]
        if told["row_count"].get("outcome") == CRITICAL:
            lines.append("row_count: differs by %.0f %%" % (100 * told["row_count"]["difference"]))
        for level in (CRITICAL, WARNING):
            for name, test in told["tests"].items():
                wrong = [detail for detail in test["details_by_attribute"] if detail["outcome"] == level]
                lines += ["%s: %s %s: %s" % (level, name, detail["attribute"], _words(detail)) for detail in wrong]
        summary = told["summary"]
        lines.append("%d tests healthy, %d warnings, %d critical" % tuple(summary[key] for key in _LEVELS))
        return "\n".join(lines)


_LEVELS = (HEALTHY, WARNING, CRITICAL)


def _words(detail: "Dict[str, Any]") -> str:
    parts = []
    for key in ("difference", "distance", "beyond", "repeated"):
        if key in detail:
            parts.append("%s %.3g" % (key, detail[key]))
    if "low" in detail:
        parts.append("%g to %g, was %g to %g" % (detail["min"], detail["max"], detail["low"], detail["high"]))
    if detail.get("others"):
        parts.append("such as %s" % ", ".join(map(repr, detail["others"][:3])))
    if detail.get("too_few_rows"):
        parts.append("too few rows to judge")
    return ", ".join(parts)


class DataContract:
    """What data has to be like: its columns as they were in training, and tests that compare others with them."""

    def __init__(self, name: str, df: "Any" = None, bins: int = _BINS) -> None:
        """Keep what training data is like.

        Args:
            name: of the contract.
            df: the data: a DataFrame, a dict of columns, or a list of rows.
            bins: into how many a column of numbers is divided, at most 50.
        Raises:
            ValueError: there is no data, or no name. TypeError: it is no table.
        """
        if not isinstance(name, str) or not _NAME.match(name):
            raise ValueError("a contract's name has letters, digits and . _ -; got %r" % (name,))
        if df is None:
            raise ValueError("a contract is made from data: DataContract(%r, df)" % name)
        if not 2 <= bins <= MOST_BINS:
            raise ValueError("bins is 2 to %d; got %r" % (MOST_BINS, bins))
        columns = tables.columns_of(df)
        if not columns:
            raise ValueError("the data has no columns")
        profiled = {column: profiles.profile_of(values, bins) for column, values in columns.items()}
        self._begin(name, profiled, max(len(values) for values in columns.values()), Options())

    def _begin(
        self,
        name: str,
        profiled: "Dict[str, Profile]",
        rows: int,
        options: Options,
        tests: "Optional[Dict[str, Any]]" = None,
    ) -> None:
        self.name = name
        self.profiles = profiled
        self.rows = rows
        self.options = options
        self._tests = tests or {key: kind() for key, kind in checks.CHECKS.items()}
        self.special_value_test: checks.SpecialValueTest = self._tests["special_values"]
        self.distribution_test: checks.DistributionTest = self._tests["distribution"]
        self.min_max_test: checks.MinMaxTest = self._tests["min_max"]
        self.domain_test: checks.DomainTest = self._tests["domain"]
        self.uniqueness_test: checks.UniquenessTest = self._tests["uniqueness"]

    def exclude(self, attributes: "Union[str, Iterable[str]]") -> None:
        """Leave columns out of the contract for good."""
        for name in [attributes] if isinstance(attributes, str) else list(attributes):
            self.profiles.pop(name, None)

    def info(self) -> "Dict[str, Any]":
        """Return what was kept of each column."""
        columns = {name: profile.to_json() for name, profile in self.profiles.items()}
        return {"name": self.name, "rows": self.rows, "attributes": columns}

    def validate(self, df: "Any", inference_period: "Any" = None) -> Report:
        """Compare data with the contract; in a job, the report is kept with it, and counts are logged as metrics.

        Args:
            df: as for a new contract, or what ``foundations.request_log`` returns.
            inference_period: which time the data is of; it is only noted.
        Raises:
            TypeError: it is no table.
        """
        columns = tables.columns_of(df, list(self.profiles))
        report = Report(self._found(columns, inference_period))
        if run.in_job():
            self._keep(report)
        return report

    def _found(self, columns: "Dict[str, List[Any]]", period: "Any") -> "Dict[str, Any]":
        rows = max(map(len, columns.values()), default=0)
        both = [checks.seen(name, self.profiles[name], columns[name]) for name in self.profiles if name in columns]
        tests: "Dict[str, Any]" = {}
        for name, check in self._tests.items():
            if getattr(self.options, "check_" + name):
                details = [self._judged(detail, rows) for detail in checks.details(check, both)]
                tests[name] = {"summary": _counted(details), "details_by_attribute": details}
        schema: "Dict[str, Any]" = {"outcome": HEALTHY, "words": []}
        if self.options.check_schema:
            schema = self._schema(columns)
        row_count = self._row_count(rows)
        summary = {level: sum(test["summary"][level] for test in tests.values()) for level in _LEVELS}
        critical: "List[str]" = []
        tested = {"schema": self.options.check_schema, "row_count": self.options.check_row_count}
        for name, outcome in (("schema", schema["outcome"]), ("row_count", row_count["outcome"])):
            summary[outcome] += tested[name]
            critical += [name] if outcome == CRITICAL else []
        wrong = [d["attribute"] for test in tests.values() for d in test["details_by_attribute"] if _is_critical(d)]
        return {
            "contract": self.name,
            "at": time.time(),
            "inference_period": None if period is None else str(period),
            "rows": rows,
            "expected_rows": self.rows,
            "schema": schema,
            "row_count": row_count,
            "tests": tests,
            "summary": summary,
            "critical_attributes": [*critical, *dict.fromkeys(wrong)],
            "critical_share": len(set(wrong)) / max(1, len(both)),
        }

    def _judged(self, detail: "Dict[str, Any]", rows: int) -> "Dict[str, Any]":
        if rows >= self.options.least_rows or detail["outcome"] != CRITICAL:
            return detail
        return {**detail, "outcome": WARNING, "too_few_rows": True}

    def _schema(self, columns: "Dict[str, List[Any]]") -> "Dict[str, Any]":
        missing = [name for name in self.profiles if name not in columns]
        added = [name for name in columns if name not in self.profiles]
        shared = [name for name in columns if name in self.profiles]
        kinds = {name: (self.profiles[name].kind, tables.kind_of(columns[name])) for name in shared}
        changed = {name: pair for name, pair in kinds.items() if pair[0] != pair[1] and tables.EMPTY not in pair}
        words = ["%s is missing" % name for name in missing] + ["%s was not there" % name for name in added]
        words += ["%s is %s, was %s" % (name, pair[1], pair[0]) for name, pair in changed.items()]
        is_ordered = shared == [name for name in self.profiles if name in columns]
        outcome = CRITICAL if words else HEALTHY if is_ordered else WARNING
        if not words and not is_ordered:
            words = ["the columns have another order"]
        return {"outcome": outcome, "missing": missing, "added": added, "changed": changed, "words": words}

    def _row_count(self, rows: int) -> "Dict[str, Any]":
        difference = abs(rows - self.rows) / max(1, self.rows)
        is_tested = self.options.check_row_count
        outcome = CRITICAL if is_tested and difference >= self.options.row_count_threshold else HEALTHY
        return {"outcome": outcome, "difference": difference, "tested": is_tested}

    def _keep(self, report: Report) -> None:
        """Keep a report with the job."""
        told = report.to_dict()
        run.log_metric(self.name + "/rows", told["rows"])
        run.log_metric(self.name + "/critical", told["summary"][CRITICAL])
        run.log_metric(self.name + "/critical_share", told["critical_share"])
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, self.name + ".report.json")
            _write(path, told)
            artifacts.save_artifact(path, "reports/" + self.name)

    # --- kept as a file -------------------------------------------------------------------------------------------

    def save(self, folder: str = ".") -> str:
        """Write the contract into a folder, as JSON, and return the path of the file.

        Raises:
            OSError: it cannot be written.
        """
        path = os.path.join(folder, self.name + _ENDING)
        tests = {name: {"settings": t.settings, "left_out": sorted(t.left_out)} for name, t in self._tests.items()}
        told = {"format": FORMAT, "version": VERSION, **self.info(), "options": vars(self.options), "tests": tests}
        _write(path, told)
        return path

    @classmethod
    def load(cls, path: str, name: "Optional[str]" = None) -> "DataContract":
        """Return a contract that was saved.

        Args:
            path: of its file; with a name, of the folder.
            name: of the contract.
        Raises:
            OSError: it cannot be read. ValueError: the file is no contract.
        """
        path = path if name is None else os.path.join(path, name + _ENDING)
        with open(path, encoding="utf-8") as file:
            try:
                told = json.load(file)
                if told.get("format") != FORMAT or told.get("version") != VERSION:
                    raise ValueError("%s is no contract of format %d" % (path, VERSION))
                contract = cls.__new__(cls)
                contract._begin(
                    str(told["name"]),
                    {key: Profile.from_json(one) for key, one in told["attributes"].items()},
                    int(told["rows"]),
                    Options(**told["options"]),
                    {key: kind(**told["tests"].get(key, {})) for key, kind in checks.CHECKS.items()},
                )
            except (KeyError, TypeError, AttributeError, RecursionError) as error:
                raise ValueError("%s is no contract: %s" % (path, error)) from None
        return contract


def _counted(details: "List[Dict[str, Any]]") -> "Dict[str, int]":
    return {level: sum(1 for detail in details if detail["outcome"] == level) for level in _LEVELS}


def _is_critical(detail: "Dict[str, Any]") -> bool:
    return bool(detail["outcome"] == CRITICAL)


def _write(path: str, told: "Dict[str, Any]") -> None:
    temporary = "%s.%d.tmp" % (path, os.getpid())
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(told, file, indent=1)
    os.replace(temporary, path)


def keep_data_contract(name: str, df: "Any", bins: int = _BINS) -> DataContract:
    """Make a contract of training data, keep it with this job (artifact ``contracts/NAME``), and return it.

    Args:
        name: of the contract.
        df: the data: a DataFrame, a dict of columns, or a list of rows.
        bins: into how many a column of numbers is divided.
    Raises:
        ValueError: there is no data. TypeError: it is no table.
    """
    contract = DataContract(name, df, bins)
    with tempfile.TemporaryDirectory() as folder:
        artifacts.save_artifact(contract.save(folder), "contracts/" + name)
    return contract
