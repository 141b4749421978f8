"""Jobs as one page of HTML: a table, curves, what differs, the code's difference, the environment. Pure.

The page loads nothing and runs nothing: its content security policy forbids both, and all that comes from jobs is text.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from foundations_tui.analysis import facts_words
from foundations_tui.analysis.account import Verdict
from foundations_tui.analysis.cells import cell
from foundations_tui.analysis.comparison import Line
from foundations_tui.store.queries import Recorded
from foundations_tui.store.rows import JobRow
from foundations_tui.text import humanize
from foundations_tui.text.sanitize import one_line, several_lines

_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#999999")
"""Okabe and Ito's colors, which people with a color vision deficiency tell apart."""
_WIDE, _HIGH, _LEFT, _BOTTOM = 520, 240, 70, 24
_MOST_PACKAGES = 2000
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; display: block; overflow-x: auto } th, td { padding: .2rem .7rem; text-align: left }
th { border-bottom: 2px solid #888 } td { border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: 13px } .add { color: #116329 }
.del { color: #a40e26 } .best { font-weight: bold } svg { max-width: 100%; height: auto } .charts { display: flex;
flex-wrap: wrap; gap: 1rem } figure { margin: 0 } .muted { color: #666 }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } pre { background: #222 }
td { border-color: #333 } .add { color: #7ee787 } .del { color: #ffa198 } svg { background: #eee } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@dataclass(frozen=True)
class Curve:
    """A metric of one job."""

    job: int
    """Place of the job in the report, from 0."""
    points: list[tuple[float, float]]
    """(step, value), in order."""


@dataclass(frozen=True)
class Report:
    """What a page tells."""

    title: str
    made: str
    """When, in words."""
    jobs: Sequence[JobRow]
    recorded: Sequence[Recorded]
    """The facts of each."""
    lines: Sequence[Line] = ()
    """In what they differ."""
    same: Sequence[str] = ()
    """In what they agree."""
    verdicts: Sequence[Verdict] = ()
    curves: Mapping[str, Sequence[Curve]] = field(default_factory=dict)
    """By metric."""
    code: str = ""
    """Difference of the code of the first two jobs, as git prints it."""
    code_words: str = ""
    """Why there is none, or which part is shown."""


def page(report: Report, now: float) -> str:
    """Return the page.

    Args:
        report: what it tells.
        now: seconds since the epoch.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width">',
        f"<title>{_text(report.title)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{_text(report.title)}</h1>",
        f'<p class="muted">{humanize.plural(len(report.jobs), "job")}, made {_text(report.made)} by Foundations</p>',
        *_jobs(report, now),
        *_charts(report),
        *_differences(report),
        *_code(report),
        *_environments(report),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _text(value: object) -> str:
    """Return text on one line, as HTML shows it."""
    return html.escape(one_line(str(value)))


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """Return a table; cells are HTML already."""
    head = "".join(f"<th>{text}</th>" for text in heads)
    body = ["<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows]
    return [f"<table><thead><tr>{head}</tr></thead><tbody>", *body, "</tbody></table>"]


def _name(report: Report, number: int) -> str:
    return _text(report.jobs[number].job[:6])


def _jobs(report: Report, now: float) -> list[str]:
    heads = ("", "Job", "Name", "State", "Host", "Took", "Command")
    rows = [
        (
            f'<span style="color:{_color(number)}">&#9632;</span>',
            _text(row.job),
            _text(row.name),
            _text(row.state if row.exit_code in (None, 0) else f"{row.state} ({row.exit_code})"),
            _text(row.host),
            _text(humanize.duration(row.duration(now))),
            f"<code>{_text(humanize.command(row.command))}</code>",
        )
        for number, row in enumerate(report.jobs)
    ]
    return ["<h2>Jobs</h2>", *_table(heads, rows)]


def _color(number: int) -> str:
    return _COLORS[number % len(_COLORS)]


def _charts(report: Report) -> list[str]:
    charts = [_chart(report, key, curves) for key, curves in report.curves.items()]
    return ["<h2>Metrics</h2>", '<div class="charts">', *charts, "</div>"] if charts else []


def _chart(report: Report, key: str, curves: Sequence[Curve]) -> str:
    """Return one metric as a picture."""
    points = [point for curve in curves for point in curve.points]
    left, right = min(x for x, _ in points), max(x for x, _ in points)
    low, high = min(y for _, y in points), max(y for _, y in points)

    def at(x: float, y: float) -> str:
        across = _LEFT + (x - left) / ((right - left) or 1.0) * (_WIDE - _LEFT - 10)
        down = 10 + (high - y) / ((high - low) or 1.0) * (_HIGH - _BOTTOM - 20)
        return f"{across:.1f},{down:.1f}"

    drawn = []
    for curve in curves:
        name = f"<title>{_name(report, curve.job)} {_text(report.jobs[curve.job].name)}</title>"
        style = f'fill="none" stroke="{_color(curve.job)}" stroke-width="1.5"'
        if len(curve.points) == 1:
            x, y = at(*curve.points[0]).split(",")
            drawn.append(f'<circle cx="{x}" cy="{y}" r="3" {style}>{name}</circle>')
        else:
            drawn.append(
                f'<polyline points="{" ".join(at(*point) for point in curve.points)}" {style}>{name}</polyline>'
            )
    base = _HIGH - _BOTTOM
    above, below, first, last = (f"{number:.4g}" for number in (high, low, left, right))
    axes = f'<path d="M{_LEFT - 4} 8V{base}H{_WIDE - 8}" fill="none" stroke="#888"/>'
    size = 'font-size="12" fill="#666"'
    labels = (
        f'<text x="{_LEFT - 8}" y="16" text-anchor="end" {size}>{above}</text>'
        f'<text x="{_LEFT - 8}" y="{base}" text-anchor="end" {size}>{below}</text>'
        f'<text x="{_LEFT}" y="{_HIGH - 6}" {size}>{first}</text>'
        f'<text x="{_WIDE - 8}" y="{_HIGH - 6}" text-anchor="end" {size}>{last}</text>'
    )
    picture = f'<svg viewBox="0 0 {_WIDE} {_HIGH}" width="{_WIDE}" role="img" aria-label="{_text(key)}">'
    return f"<figure><figcaption>{_text(key)}</figcaption>{picture}{axes}{labels}{''.join(drawn)}</svg></figure>"


def _differences(report: Report) -> list[str]:
    parts: list[str] = []
    if report.lines:
        heads = ("", *(_name(report, number) for number in range(len(report.jobs))))
        parts += ["<h2>What differs</h2>", *_table(heads, map(_difference, report.lines))]
    if report.same:
        parts.append(f"<p>The same: {_text(', '.join(report.same))}</p>")
    return parts + [f"<p>{_text(verdict.words)}</p>" for verdict in report.verdicts]


def _difference(line: Line) -> list[str]:
    name = line.name if line.kind == "job" else f"{line.kind}: {line.name}"
    cells = [_text(_shown(line, value)) for value in line.values]
    if line.best is not None:
        cells[line.best] = f'<span class="best">{cells[line.best]}</span>'
    return [_text(name), *cells]


def _shown(line: Line, value: object) -> str:
    if line.kind == "job" and isinstance(value, int | float):
        if line.name in ("duration", "CPU seconds"):
            return humanize.duration(value)
        if line.name.startswith("peak"):
            return humanize.size(int(value))
    return cell(value)


def _code(report: Report) -> list[str]:
    if not report.code and not report.code_words:
        return []
    words = [f'<p class="muted">{_text(report.code_words)}</p>'] if report.code_words else []
    lines = [_code_line(line) for line in several_lines(report.code).split("\n")]
    return ["<h2>Code</h2>", *words, *(["<pre>" + "\n".join(lines) + "</pre>"] if report.code else [])]


def _code_line(line: str) -> str:
    kind = {"+": "add", "-": "del"}.get(line[:1], "")
    return f'<span class="{kind}">{html.escape(line)}</span>' if kind else html.escape(line)


def _environments(report: Report) -> list[str]:
    """Return where each job ran; packages of the first, since what differs stands above."""
    rows = [
        (_name(report, number), _text(facts_words.python(job) or "not recorded"), _text(facts_words.machine(job.facts)))
        for number, job in enumerate(report.recorded)
    ]
    parts = ["<h2>Environment</h2>", *_table(("Job", "Python", "Machine"), rows)]
    number = next((n for n, job in enumerate(report.recorded) if job.packages), None)
    if number is not None:
        packages = report.recorded[number].packages or []
        shown = "\n".join(f"{name}=={version}" for _, name, version, _ in packages[:_MOST_PACKAGES])
        summary = f"{humanize.plural(len(packages), 'package')} of {_name(report, number)}"
        parts.append(f"<details><summary>{summary}</summary><pre>{html.escape(several_lines(shown))}</pre></details>")
    return parts
