"""Data contracts: what is kept of training data, and what is found out about other data."""

from __future__ import annotations

import json
import math
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from foundations.contracts import DataContract, Report, profiles, tables
from foundations.contracts.profiles import Bins, Profile, l_infinity, profile_of, psi
from foundations.production import read_requests, request_log, track_production_metrics

RNG = random.Random(7)


def normal(count: int, mean: float = 0.0, spread: float = 1.0) -> list[float]:
    return [RNG.gauss(mean, spread) for _ in range(count)]


def training(count: int = 1000) -> dict[str, list[Any]]:
    return {
        "age": normal(count, 40, 10),
        "plan": RNG.choices(["free", "pro", "team"], [6, 3, 1], k=count),
        "paid": [RNG.random() < 0.5 for _ in range(count)],
        "logins": [RNG.randint(0, 5) for _ in range(count)],
        "note": [f"text {RNG.random()}" for _ in range(count)],
        "score": [None if RNG.random() < 0.1 else RNG.random() for _ in range(count)],
    }


def outcomes(report: Report, test: str) -> dict[str, str]:
    details = report.to_dict()["tests"][test]["details_by_attribute"]
    return {detail["attribute"]: detail["outcome"] for detail in details}


def test_data_like_that_of_training_is_healthy_and_other_data_is_not() -> None:
    contract = DataContract("churn", training())
    same = contract.validate(training())
    assert same.is_healthy, str(same)
    assert "note" not in outcomes(same, "distribution"), "texts of too many kinds are not compared"
    other = training()
    other["age"] = normal(1000, 70, 10)
    other["plan"] = ["enterprise"] * 500 + other["plan"][500:]
    other["score"] = [float("nan")] * 400 + other["score"][400:]
    report = contract.validate(other, inference_period="2026-11")
    assert set(report.critical) == {"age", "plan", "score"}
    assert outcomes(report, "distribution")["age"] == outcomes(report, "min_max")["age"] == "critical"
    assert outcomes(report, "domain") == {"plan": "critical", "paid": "healthy"}
    assert outcomes(report, "special_values")["score"] == "critical"
    told = report.to_dict()
    assert json.loads(json.dumps(told)) == told and told["inference_period"] == "2026-11"
    assert "critical: domain plan: beyond 0.5, such as 'enterprise'" in str(report)
    assert 0.4 < told["critical_share"] < 0.6


def test_a_few_rows_are_not_judged() -> None:
    contract = DataContract("churn", training())
    report = contract.validate({**training(20), "age": normal(20, 70)})
    assert report.is_healthy and "too few rows to judge" in str(report)
    contract.options.least_rows = 10
    assert not contract.validate({**training(20), "age": normal(20, 70)}).is_healthy


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.pop("age"), "age is missing"),
        (lambda t: t.update(new=[1] * 1000), "new was not there"),
        (lambda t: t.update(age=["old"] * 1000), "age is text, was number"),
    ],
)
def test_the_schema_is_what_it_was(change: Any, words: str) -> None:
    contract, other = DataContract("churn", training()), training()
    change(other)
    report = contract.validate(other)
    assert "schema" in report.critical and words in str(report)
    contract.options.check_schema = False
    assert "schema" not in contract.validate(other).critical


def test_another_order_of_columns_is_a_warning_and_rows_are_counted_if_that_is_wanted() -> None:
    contract = DataContract("churn", training())
    data = training(500)
    report = contract.validate(dict(reversed(data.items())))
    assert report.is_healthy and "another order" in str(report)
    contract.options.check_row_count = True
    assert contract.validate(data).critical == ["row_count"]


def test_tests_are_configured_by_column_and_left_out() -> None:
    contract = DataContract("churn", training())
    contract.exclude(["note", "nothing of this name"])
    contract.min_max_test.configure("age", low=0, high=20)
    contract.domain_test.configure(["logins"], values=[0, 1])
    contract.uniqueness_test.configure("plan")
    contract.distribution_test.exclude("all")
    report = contract.validate(training())
    assert outcomes(report, "min_max")["age"] == outcomes(report, "domain")["logins"] == "critical"
    assert outcomes(report, "uniqueness") == {"plan": "critical"} and outcomes(report, "distribution") == {}
    contract.distribution_test.configure("age", method="psi", threshold=5.0)
    contract.min_max_test.exclude("age")
    with pytest.raises(ValueError, match="no setting lowest; it has low, high, tolerance"):
        contract.min_max_test.configure("age", lowest=0)
    with pytest.raises(ValueError, match="l_infinity or psi"):
        contract.distribution_test.configure("age", method="magic")


def test_a_contract_is_kept_as_json_and_finds_the_same_afterwards(tmp_path: Path) -> None:
    contract = DataContract("churn", training(), bins=20)
    contract.distribution_test.configure("age", method="psi", threshold=0.2)
    contract.options.least_rows = 50
    contract.uniqueness_test.exclude("age")
    path = contract.save(str(tmp_path))
    assert json.loads(Path(path).read_text())["format"] == "foundations-contract"
    again = DataContract.load(str(tmp_path), "churn")
    data = training()
    one, other = contract.validate(data).to_dict(), again.validate(data).to_dict()
    one.pop("at"), other.pop("at")
    assert json.loads(json.dumps(one)) == json.loads(json.dumps(other))
    assert again.info() == json.loads(json.dumps(contract.info()))


_HEAD = '{"format": "foundations-contract", "version": 1, "name": "x", "rows": 1, "options": {}, '
_PROFILE = '{"kind": "number", "rows": 1, "specials": %s, "low": 1, "high": 1, "bins": null, "distinct": 1}'
_DAMAGED = [
    _HEAD + '"attributes": {"a": ' + _PROFILE % '"abc"' + '}, "tests": {}}',
    _HEAD + '"attributes": {}, "tests": {"distribution": {"settings": {"x": {"method": "zz"}}}}}',
]
_OF_ANOTHER_VERSION = '{"format": "foundations-contract", "version": 2}'


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", _OF_ANOTHER_VERSION, _OF_ANOTHER_VERSION.replace("2", "1"), *_DAMAGED],
)
def test_a_file_that_is_no_contract_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.contract.json").write_text(text)
    with pytest.raises(ValueError):
        DataContract.load(str(tmp_path), "x")


def test_what_is_no_table_or_has_no_data_is_refused() -> None:
    with pytest.raises(ValueError, match="made from data"):
        DataContract("churn")
    with pytest.raises(ValueError, match="no columns"):
        DataContract("churn", [])
    with pytest.raises(TypeError, match="got int"):
        DataContract("churn", 5)
    for name in ("", "../x", "a/b", 5):
        with pytest.raises(ValueError, match="a contract's name"):
            DataContract(name, {"a": [1]})  # type: ignore[arg-type]


def test_tables_of_others_are_read_alike() -> None:
    pandas = pytest.importorskip("pandas")
    rows = [{"a": 1, "b": "x"}, {"a": 2, "b": None}]
    columns = {"a": [1, 2], "b": ["x", None]}
    assert tables.columns_of(rows) == tables.columns_of(columns) == columns
    frame = tables.columns_of(pandas.DataFrame(columns))
    assert frame["a"] == [1, 2] and [tables.special_of(value) for value in frame["b"]] == [None, "missing"]
    assert tables.kind_of(frame["b"]) == "text", "what is missing is of any kind"
    assert tables.columns_of(np.array([[1.5, 2.5], [3.5, 4.5]])) == {"0": [1.5, 3.5], "1": [2.5, 4.5]}
    assert tables.columns_of([[1, 2], [3, 4]], ["p", "q"]) == {"p": [1, 3], "q": [2, 4]}
    mixed = tables.columns_of({"a": np.array([1, 2]), "b": pandas.array([1, pandas.NA], dtype="Int64")})
    assert mixed == {"a": [1, 2], "b": [1, None]}


def test_requests_are_a_table() -> None:
    def request(**inputs: Any) -> dict[str, Any]:
        return {"time": 1.0, "route": "predict", "status": 200, "seconds": 0.1, "inputs": inputs, "outputs": None}

    found = tables.columns_of(
        [
            request(age=5, plan={"text": 4}),
            request(age=[6, "NaN"], plan={"redacted": True}),
            {**request(), "inputs": None},
            request(age={"shape": [5000]}, more={"deep": 1}),
        ]
    )
    assert list(map(tables.special_of, found["age"])) == [None, None, "missing"] and found["more.deep"] == [1]
    matrix = [request(**{"input-0": [[1.0, 2.0], [3.0, 4.0]]})]
    assert tables.columns_of(matrix, ["p", "q"]) == {"p": [1.0, 3.0], "q": [2.0, 4.0]}
    assert tables.columns_of(matrix, ["p"]) == {"input-0.0": [1.0, 3.0], "input-0.1": [2.0, 4.0]}


VALUES = st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5), max_size=60)


@given(VALUES, VALUES, st.integers(2, 50))
def test_whatever_the_values_are_shares_are_shares_and_json_holds_them(kept: Any, seen: Any, bins: int) -> None:
    contract = DataContract("a", {"x": kept}, bins)
    contract.options.least_rows = 0
    contract.distribution_test.configure("x", method="psi")
    told = json.loads(json.dumps(contract.info()))["attributes"]["x"]
    assert Profile.from_json(told).rows == len(kept)
    report = contract.validate({"x": seen})
    json.dumps(report.to_dict(), allow_nan=False)
    for detail in report.to_dict()["tests"]["distribution"]["details_by_attribute"]:
        for shares in (detail["expected"], detail["actual"]):
            assert all(0 <= share <= 1 for share in shares) and math.isclose(sum(shares), 1)
        assert detail["distance"] >= 0 and len(detail["bins"]) == len(detail["actual"])
    assert contract.validate({"x": kept}).to_dict()["tests"]["distribution"]["summary"]["critical"] == 0


def test_distances_are_those_of_the_books() -> None:
    assert l_infinity([0.2, 0.8], [0.5, 0.5]) == pytest.approx(0.3)
    assert psi([0.5, 0.5], [0.25, 0.75]) == pytest.approx(0.25 * math.log(2) + 0.25 * math.log(1.5))
    assert psi([1.0, 0.0], [1.0, 0.0]) == 0.0 and math.isfinite(psi([1.0, 0.0], [0.0, 1.0]))
    profile = profile_of([float(number) for number in range(100)], 4)
    assert list(profile.bins.edges) == [25.0, 50.0, 75.0] and list(profile.bins.shares) == [0.25] * 4
    assert profile.bins.names() == ["below 25", "25 to 50", "50 to 75", "from 75"]
    assert profiles.profile_of([1, 1, 2], 10).bins == Bins((), [1, 2], [2 / 3, 1 / 3, 0.0])


def test_numbers_that_are_tracked_have_to_be_numbers() -> None:
    with pytest.raises(TypeError, match="late must be a number"):
        track_production_metrics("churn", {"late": "many"})
    with pytest.raises(ValueError, match="a service is named by"):
        request_log("../etc")


def test_a_smallest_value_that_is_most_of_a_column_has_a_bin_of_its_own() -> None:
    contract = DataContract("a", {"x": [0.0] * 1000 + [float(number) for number in range(1, 20)]})
    assert outcomes(contract.validate({"x": [15.0] * 1000}), "distribution") == {"x": "critical"}
    assert contract.validate({"x": [0.0] * 1000 + [3.0] * 10}).is_healthy


def test_numbers_beyond_all_floats_are_infinite_and_can_be_told() -> None:
    contract = DataContract("a", {"x": normal(200)})
    report = contract.validate({"x": [10**400, -(10**400), *normal(300)]})
    assert "inf" in report.to_dict()["tests"]["special_values"]["details_by_attribute"][0]["shares"]
    assert str(report)


def test_files_that_a_job_has_put_there_hold_up_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "requests-000001.jsonl")
    assert list(read_requests(str(tmp_path / "requests-000001.jsonl"))) == []
    path = tmp_path / "requests-000002.jsonl"
    lines = ["x" * (3 << 20), '["r", 1e400, "p", 200, 0.1, {}, null]', '["r", 5, "p", 200, 0.1, {"a": 1}, null]', "{"]
    path.write_text("\n".join(lines))
    assert [record["inputs"] for record in read_requests(str(path))] == [{"a": 1}]
