"""Charts in the app: a part of the x axis, every point where one looks closely, attempts, values that are no number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
from hypothesis import example, given, strategies as st
from msgspec import structs
from textual.app import App, ComposeResult
from textual.events import MouseScrollUp

from foundations import records
from foundations_tui.analysis import aggregate, braille
from foundations_tui.config import locations
from foundations_tui.ingest import log_clock
from foundations_tui.session import Session
from foundations_tui.store import write_streams
from foundations_tui.store.db import Store, open_reader
from foundations_tui.store.rows import CurvePoint
from foundations_tui.ui.app import FoundationsApp
from foundations_tui.ui.models import curves, sweep_plots
from foundations_tui.ui.models.curves import ChartOptions, JobOfChart
from foundations_tui.ui.models.jobs_table import JobsView
from foundations_tui.ui.models.plot import ChartLine, Plot
from foundations_tui.ui.panes.metrics import MetricsPane
from foundations_tui.ui.widgets.chart import Chart
from tests.support import screen
from tests.support.store import fill

JOB = "0" * 12
LONG = 40_000


def log(values: list[float], attempt: int = 1, first: int = 0, time: float = 1e9, key: str = "loss") -> None:
    """Put a metric of the first job into the store."""
    store = Store()
    stream = f"records/w-{key}"
    write_streams.put_sizes(store, "local", [(JOB, attempt, stream, 1 << 40)])
    lines = (records.encode_metric(time + n, key, first + n, value) for n, value in enumerate(values))
    write_streams.put_records_page(store, JOB, attempt, stream, 0, b"".join(lines))
    store.close()


def plotted(how: ChartOptions, attempt: int = 1) -> Plot:
    conn = open_reader()
    found = curves.plot(conn, "loss", [JobOfChart(JOB, attempt, "a job", 0)], how)
    conn.close()
    return found


def test_a_closer_look_shows_every_point_of_a_long_series() -> None:
    fill(1)
    log([float(n % 100) for n in range(LONG)])
    (line,) = plotted(ChartOptions()).lines
    assert len(line.curve.xs) < LONG / 256 + 256
    assert (line.curve.xs[0], line.values[0]) == (0, 0.0) and plotted(ChartOptions()).span == (0, LONG - 1)
    plot = plotted(ChartOptions(window=(0.5, 0.505)))
    (line,) = plot.lines
    assert plot.span == pytest.approx((0.5 * LONG, 0.505 * LONG), rel=0.02)
    assert line.curve.lows == line.curve.highs and len(line.curve.xs) == pytest.approx(0.005 * LONG, rel=0.1)
    assert line.values == [x % 100 for x in line.curve.xs]


@given(st.lists(st.one_of(st.none(), st.floats(-9, 9)), min_size=1, max_size=40), st.integers(1, 12))
def test_what_is_summed_up_keeps_every_extreme(values: list[float | None], most: int) -> None:
    points = [CurvePoint(1, v, v, v, n, n, n, n, int(v is None)) for n, v in enumerate(values)]
    found = curves.merged(points, most)
    assert len(found) <= most and sum(point.count for point in found) == len(values)
    known = [value for value in values if value is not None]
    lows, highs = [p.min for p in found if p.min is not None], [p.max for p in found if p.max is not None]
    assert (min(lows, default=None), max(highs, default=None)) == (min(known, default=None), max(known, default=None))
    assert sum(point.non_finite for point in found) == len(values) - len(known)
    assert (found[0].step_min, found[-1].step_max) == (0, len(values) - 1)


def test_a_series_of_some_thousand_points_is_drawn_finely() -> None:
    fill(1)
    log([float(n % 100) for n in range(6000)])
    (line,) = plotted(ChartOptions()).lines
    assert 400 < len(line.curve.xs) < 600 and (min(line.curve.lows), max(line.curve.highs)) == (0.0, 99.0)
    (smooth,) = plotted(ChartOptions(smooth=0.9)).lines
    mean = known = 0.0
    for n in range(6000):
        mean, known = mean * 0.9 + (n % 100) * 0.1, known * 0.9 + 0.1
    assert smooth.values[-1] == pytest.approx(mean / known)


def test_a_smoothed_series_is_as_fine_as_the_chart_whatever_was_drawn_before() -> None:
    fill(2)
    log([float(n) for n in range(5000)])
    conn = open_reader()
    for jobs in (8, 1, 8):
        named = [JobOfChart(JOB, 1, "a job", 0), *(JobOfChart("0" * 11 + "1", 1, "none", n) for n in range(1, jobs))]
        for window in ((0.0, 1.0), (0.5, 0.51)):
            (line,) = curves.plot(conn, "loss", named, ChartOptions(smooth=0.5, window=window)).lines
            assert len(line.values) == len(line.curve.xs) and line.values[-1] == pytest.approx(line.curve.xs[-1], abs=2)
    conn.close()


def test_attempts_are_joined_and_what_is_no_number_is_marked() -> None:
    fill(1)
    log([5.0, 4.0, 3.0])
    log([3.5, math.nan, 2.0], attempt=2, first=3, time=1e9 + 100)
    (line,) = plotted(ChartOptions(), attempt=2).lines
    assert list(line.curve.xs) == [0, 1, 2, 3, 5] and list(line.values or ()) == [5.0, 4.0, 3.0, 3.5, 2.0]
    assert list(line.seams) == [3] and list(line.non_finite_at) == [4] and line.non_finite == 1
    (line,) = plotted(ChartOptions(x="time"), attempt=2).lines
    assert list(line.seams) == [100]


def test_what_an_attempt_did_beyond_its_checkpoint_is_not_drawn() -> None:
    """One series, as everywhere: the earlier attempt up to where the later one took over."""
    fill(1)
    log([9.0, 8.0, 7.0, 6.0])
    log([7.5, 6.5], attempt=2, first=2, time=1e9 + 100)
    (line,) = plotted(ChartOptions(), attempt=2).lines
    assert list(line.curve.xs) == [0, 1, 2, 3] and list(line.values or ()) == [9.0, 8.0, 7.5, 6.5]
    assert list(line.seams) == [2]
    (line,) = plotted(ChartOptions(), attempt=3).lines
    assert list(line.curve.xs) == [0, 1, 2, 3], "a third one has logged nothing yet"


@given(
    st.lists(st.tuples(st.floats(-1e9, 1e9), st.floats()), max_size=20),
    st.floats(-1e9, 1e9),
    st.floats(0, 1e9),
    st.booleans(),
)
@example([(0.0, 0.0), (1.0, 0.0)], 0.0, 2.2250738585072014e-308, False)
@example([(0.0, 0.0), (-1.1125369292536007e-308, 1.0)], 0.0, 2.0, False)
def test_any_part_of_any_curve_can_be_drawn(
    points: list[tuple[float, float]], left: float, room: float, log: bool
) -> None:
    xs, values = [x for x, _ in points], [v for _, v in points if math.isfinite(v)]
    curve = braille.Curve(xs[: len(values)], values, values)
    (drawn,) = braille.draw([curve], 7, 4, log, (left, left + room))
    assert [len(row) for row in drawn] == [7] * 4


def test_a_line_goes_over_the_edge_of_what_is_seen() -> None:
    curve = braille.Curve([0, 10], [0.0, 10.0], [0.0, 10.0])
    (drawn,) = braille.draw([curve], 5, 5, span=(4, 6))
    assert all(any(row[column] != " " for row in drawn) for column in range(5))
    (drawn,) = braille.draw([curve], 5, 5, span=(11, 12))
    assert not "".join(drawn).strip()


async def test_charts_are_moved_with_keys_and_mouse() -> None:
    fill(1)
    log([1.0 / (n + 1) for n in range(200)])
    app = FoundationsApp(Session(), page="metrics", follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "─ step " in screen.text(app))
        pane = app.main.query_one(MetricsPane)

        async def shows(condition: Callable[[], bool]) -> None:
            await screen.until(pilot, condition)

        await pilot.press("i", "i")
        await shows(lambda: "75% to 100% of it" in screen.text(app))
        await pilot.press("H")
        await shows(lambda: pane.how.window == (0.625, 0.875))
        await pilot.press("a")
        await shows(lambda: pane.how.window == (0.0, 1.0) and "of it" not in screen.text(app))
        chart = app.main.query(Chart).first()
        await pilot.hover(chart, offset=(11, 5))
        await shows(lambda: "■ 1  000000 job 0" in screen.text(app))
        await pilot.mouse_down(chart, offset=(20, 5))
        await pilot.hover(chart, offset=(50, 5))
        await pilot.mouse_up(chart, offset=(50, 5))
        await shows(lambda: 0.05 < pane.how.window[0] < 0.2 and 0.4 < pane.how.window[1] < 0.6)
        await pilot._post_mouse_events([MouseScrollUp], chart, offset=(50, 5))
        await shows(lambda: pane.how.window[1] - pane.how.window[0] < 0.3)


knots = st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 1 << 50)), max_size=20)


@given(knots)
def test_a_log_clock_never_goes_back(known: list[tuple[float, int]]) -> None:
    found = log_clock.clock(known)
    assert (found.offset_at(5.0) is None) == (found.time_at(5) is None) == (not known)
    offsets = [found.offset_at(time) or 0 for time in (-1.0, 0.0, *sorted(time for time, _ in known), 2e9)]
    times = [found.time_at(offset) or 0.0 for offset in (0, *sorted(size for _, size in known), 1 << 51)]
    assert offsets == sorted(offsets) and times == sorted(times)


def test_a_log_grows_evenly_between_two_samples() -> None:
    found = log_clock.clock([(100.0, 0), (110.0, 1000), (120.0, 1000), (130.0, 3000)])
    assert [found.offset_at(time) for time in (99, 105, 115, 125, 999)] == [0, 500, 1000, 2000, 3000]
    assert [found.time_at(offset) for offset in (0, 500, 999, 1000, 2000, 3000)] == [100, 105, 109.99, 120, 125, 130]


async def test_a_curve_that_is_flattened_by_few_values_says_how_to_see_it() -> None:
    fill(1)
    log([120_000.0, 9_000.0, *(600.0 - n / 2 for n in range(200))])
    assert plotted(ChartOptions()).spreads_far
    app = FoundationsApp(Session(), page="metrics", follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "a few large values flatten the rest: L for a log axis" in screen.text(app))
        await pilot.press("L")
        await screen.until(pilot, lambda: "loss   log" in screen.text(app) and "flatten" not in screen.text(app))


def test_the_peak_that_a_curve_begins_with_is_left_out_where_ends_are_compared() -> None:
    def plot(values: list[float]) -> Plot:
        curve = braille.Curve([float(n) for n in range(len(values))], values, values)
        return Plot([ChartLine("a job", "red", "o", curve, values)], (0.0, len(values) - 1.0))

    begins_high = plot([120_000.0, 9_000.0, *(600.0 - n / 2 for n in range(200))])
    settled = begins_high.settled()
    assert begins_high.spreads_far and not settled.spreads_far and settled.note == "values above 590 are left out"
    shown = [high for high in settled.lines[0].curve.highs if not math.isnan(high)]
    assert max(shown) == 590.5 and len(shown) == 181 and settled.lines[0].values == begins_high.lines[0].values
    ends_high = plot([5.0, *(4.0 for _ in range(200)), 1e9])
    assert ends_high.spreads_far and ends_high.settled() is ends_high, "a peak at the end is what happened"
    even = plot([5.0 - n / 100 for n in range(200)])
    assert even.settled() is even and Plot().settled() == Plot()


async def test_each_of_close_curves_is_told_by_its_markers() -> None:
    chart = Chart()
    xs = tuple(float(n) for n in range(200))
    same = [braille.Curve(xs, values, values) for values in (tuple(1.0 + n / 1e6 for n in range(200)),) * 3]
    lines = [ChartLine(f"job {n}", "red", "■▲◆"[n], curve, curve.lows) for n, curve in enumerate(same)]

    class Shown(App[None]):
        def compose(self) -> ComposeResult:
            yield chart

    async with Shown().run_test(size=(100, 20)) as pilot:
        chart.show("loss", Plot(lines, (0.0, 199.0)), "step", False)
        await pilot.pause()
        drawn = "".join(chart.render_line(y).text for y in range(1, 17))
        assert all(drawn.count(marker) >= 4 for marker in "■▲◆"), "the first curve hides the others, not their markers"
        assert drawn.rstrip().count("■") >= drawn.count("◆")


def test_values_that_are_not_far_apart_or_not_above_0_are_left_as_they_are() -> None:
    fill(1)
    log([30.0, *(5.0 - n / 100 for n in range(200))])  # the others have a tenth of the height
    assert not plotted(ChartOptions()).spreads_far
    log([9.0, *(5.0 - n / 1e6 for n in range(200))], attempt=3, first=600)  # a log axis would look the same
    assert not plotted(ChartOptions(), attempt=3).spreads_far
    log([-1.0, 1e9, *(5.0 for _ in range(200))], attempt=2, first=300)
    assert not plotted(ChartOptions(), attempt=2).spreads_far and not Plot().spreads_far


async def test_charts_and_log_are_linked_in_time() -> None:
    fill(1)
    log([float(n) for n in range(100)], time=1e9)
    text = b"".join(b"line %02d of it\n" % n for n in range(100))
    path = locations.log_file(JOB, 1)
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    store = Store()
    write_streams.put_sizes(store, "local", [(JOB, 1, "samples", 1 << 40)])
    samples = b"".join(b"[%d,1,1,null,null,%d]\n" % (1e9 + at, at * 14) for at in (0, 50, 100))
    assert write_streams.put_samples_page(store, JOB, 1, 0, b"[0,1,1,null,null]\n" + samples)
    store.close()
    app = FoundationsApp(Session(), page="metrics", follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        await screen.until(pilot, lambda: "─ step " in screen.text(app))
        for _ in range(25):
            await pilot.press("h")
        await screen.until(pilot, lambda: "49  000000 job 0" in screen.text(app))
        await pilot.press("t")
        view = app.main.log_pane.log_view
        await screen.until(pilot, lambda: app.main.page == "log" and view.place == 49 * 14)
        assert "│ line 49 of it" in screen.text(app) and "about" in screen.text(app)  # whatever layouts came between
        view.go_to(20 * 14)
        await screen.until(pilot, lambda: view.place == 20 * 14)
        await pilot.press("m")
        await screen.until(pilot, lambda: app.main.page == "metrics" and "20  000000 job 0" in screen.text(app))


def test_many_points_are_drawn_as_the_few_that_can_be_told_apart() -> None:
    """Bundled or not: the same dots, but for the lines within a column of them."""
    values = [math.sin(n / 300) + (n == 2000) * 5 for n in range(4000)]
    many = braille.Curve([float(n) for n in range(4000)], values, values)
    drawn = braille.draw([many], 60, 12)[0]
    few, dots = braille._bundled, braille.draw([braille.Curve(many.xs, values, values, joined=False)], 60, 12)[0]
    assert few(many, 0.0, 3999.0, 120).xs[0] == 0.0 and len(few(many, 0.0, 3999.0, 120).xs) == 120
    assert max(few(many, 0.0, 3999.0, 120).highs) == max(values)
    for line, points in zip(drawn, dots, strict=True):
        assert all(char != " " for char, point in zip(line, points, strict=True) if point != " ")


def sweep(results: dict[int, float]) -> None:
    """Put a result of each job of the store into it."""
    store = Store()
    for number, value in results.items():
        job = f"{number:012x}"
        write_streams.put_sizes(store, "local", [(job, 1, "records/w", 1 << 40)])
        write_streams.put_records_page(store, job, 1, "records/w", 0, records.encode_metric(1e9, "loss", 0, value))
    store.close()


def test_a_sweep_as_a_scatter_and_as_parallel_axes() -> None:
    fill(9)
    sweep({n: 9.0 - n for n in range(8)})  # the ninth has no result
    conn = open_reader()
    found = sweep_plots.read(conn, sweep_plots.members(conn, [], JobsView()), "loss")
    assert found.params == ["lr"] and sorted(found.results) == [float(n) for n in range(2, 10)]
    plot = sweep_plots.scatter(found, "lr", "000000000003")
    everything, chosen = plot.lines
    assert sorted(zip(everything.curve.xs, everything.values or everything.curve.lows, strict=True)) == [
        (n / 1000, 9.0 - n) for n in range(8)
    ]
    assert "job 3" in chosen.label and "lr 0.003  6" in chosen.label and list(chosen.curve.xs) == [0.003]
    plot = sweep_plots.parallel(found)
    assert [line.label for line in plot.lines] == [
        *("lowest quarter  2 to 3", "second quarter  4 to 5", "third quarter  6 to 7", "highest quarter  8 to 9"),
    ]
    assert [label for _, label in plot.ticks] == ["lr 0..0.007", "loss 2..9"]
    lowest = plot.lines[0].curve
    assert list(lowest.lows)[:2] == pytest.approx([1.0, 0.0]) and math.isnan(lowest.lows[2])
    only = sweep_plots.read(conn, sweep_plots.members(conn, ["000000000001", "000000000002"], JobsView()), "loss")
    assert len(only.jobs) == 2
    conn.close()


@given(st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=4), st.none(), st.booleans()), min_size=1))
@example([math.inf])
@example([10**400])
@example([-math.inf, math.nan, 1.0])
def test_an_axis_takes_any_values(values: list[object]) -> None:
    axis = sweep_plots._Axis(values)
    low, high = axis.span
    assert low < high and all(low <= axis.place(value) <= high for value in values)
    assert all(low <= x <= high and label for x, label in axis.ticks)
    assert all(0.0 <= axis.share(value) <= 1.0 for value in values)


async def test_the_metrics_page_turns_to_the_sweep() -> None:
    fill(9)
    sweep({n: float(n) if n else math.nan for n in range(9)})
    app = FoundationsApp(Session(), page="metrics", follow=False)
    async with app.run_test(size=(100, 30)) as pilot:
        one_value = "■ 8  000000 job 8"  # no axes, for one value
        await screen.until(pilot, lambda: one_value in screen.text(app) and "└0" not in screen.text(app))
        await pilot.press("v")
        await screen.until(
            pilot, lambda: "8 jobs, 1 without a value" in screen.text(app) and "over lr" in screen.text(app)
        )
        await pilot.press("v")
        await screen.until(pilot, lambda: "loss (last) of 8 jobs, 1 without" in screen.text(app))
        assert "lr 0.001..0.008" in screen.text(app) and "highest quarter" in screen.text(app)
        await pilot.press("v")
        await screen.until(pilot, lambda: one_value in screen.text(app))


@pytest.mark.parametrize("values", [[1.7e308, -1.7e308, 0.0], [5.0], [None, None], [math.inf]])
def test_a_sparkline_of_any_numbers(values: list[float | None]) -> None:
    known = [v if v is None or math.isfinite(v) else None for v in values]
    assert len(curves.sparkline(known, 3)) <= 3


def test_missing_parameters_leave_an_axis_as_it_is() -> None:
    fill(3)
    sweep({n: float(n) for n in range(3)})
    conn = open_reader()
    found = sweep_plots.read(conn, sweep_plots.members(conn, [], JobsView()), "loss")
    jobs = [
        structs.replace(row, params={"p": p} if p else {}) for row, p in zip(found.jobs, (9, 100, None), strict=True)
    ]
    found = dataclasses.replace(found, jobs=jobs, params=["p"])
    plot = sweep_plots.parallel(found)
    assert plot.ticks[0][1] == "p 9..100"
    assert sum(math.isnan(y) for line in plot.lines for y in line.curve.lows) == 4
    conn.close()


def test_means_of_the_largest_numbers() -> None:
    found = aggregate.spread([1.7e308, 1.7e308])
    assert found is not None and found.count == 2 and "inf" in found.words


async def test_a_filter_without_a_hit_does_not_keep_the_enlarged_chart() -> None:
    fill(1)
    log([1.0, 2.0, 3.0])
    store = Store()
    write_streams.put_sizes(store, "local", [(f"{0:012x}", 1, "records/v", 1 << 40)])
    points = b"".join(records.encode_metric(float(n), "accuracy", n, n / 10) for n in range(3))
    write_streams.put_records_page(store, f"{0:012x}", 1, "records/v", 0, points)
    store.close()
    app = FoundationsApp(Session(), page="metrics", follow=False)
    async with app.run_test(size=(120, 40)) as pilot:
        await screen.until(pilot, lambda: "1-2 of 2" in screen.text(app))
        await pilot.press("enter")
        await screen.until(pilot, lambda: "1 of 2" in screen.text(app) and "1-2 of 2" not in screen.text(app))
        pane = app.main.query_one(MetricsPane)
        pane.set_filter("zzz")
        await screen.until(pilot, lambda: "no metric has zzz in its name" in screen.text(app))
        await pilot.press("escape")
        assert app.main.page == "metrics", "the way back is to all charts"
        pane.set_filter("")
        await screen.until(pilot, lambda: "1-2 of 2" in screen.text(app))
