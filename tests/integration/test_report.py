"""Jobs as a page of HTML: it needs nothing, runs nothing, and what comes from jobs is text in it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.client import Client

TAGS = set(
    "html head meta title style body h1 h2 p table thead tbody tr th td span code div figure figcaption svg path text"
    " polyline circle pre details summary".split()
)
ATTRIBUTES = set(
    "lang charset http-equiv content name style class viewbox width role aria-label d fill stroke stroke-width points"
    " cx cy r x y text-anchor font-size".split()
)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m</title></style>&amp;"


class Page(HTMLParser):
    """What a page holds, and whether its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "path"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def train(client: Client, version: str) -> str:
    (client.project / "train.py").write_text(
        f"# {version}\nimport foundations\n"
        "for step in range(5): foundations.log_metric('loss', 1 / (step + 1), step=step)\n"
        "foundations.log_metric('once', 3.0)\nfoundations.log_metric('odd', float('nan'))\n"
        f"foundations.log_metric({HOSTILE!r}, 1.0); foundations.set_tag({HOSTILE!r}, {HOSTILE + version!r})\n"
    )
    job = client.submit("--name", HOSTILE, "--param", f"p={HOSTILE}{version}", "--", "python", "train.py", HOSTILE)
    client.run("wait", job)
    return job


def test_a_page_tells_all_and_runs_nothing(client: Client, tmp_path: Path) -> None:
    (client.project / "foundations.toml").write_text('project = "p"\n[metrics.direction]\nloss = "min"\n')
    jobs = [train(client, "</pre><b>one"), train(client, "two")]
    client.run("sync")
    target = tmp_path / "page.html"
    client.run("report", *jobs, "--html", str(target), "--title", HOSTILE)
    text = target.read_text()
    page = Page(text)
    assert page.tags <= TAGS and page.attributes <= ATTRIBUTES and not page.open
    assert "default-src 'none'" in text and "http://" not in text and "https://" not in text and "\x1b" not in text
    words = " ".join(page.words)
    for part in (*jobs, "loss", "What differs", "-# </pre><b>one", "+# two", "Environment", "completed", "The same:"):
        assert part in words, part
    assert text.count("<polyline") == 2, "one metric has curves: a point is a circle, and what is no number is nothing"
    assert "exists already" in client.run("report", jobs[0], "--html", str(target), code=2).stderr
    client.run("report", jobs[0], "--html", str(target), "--force")
    assert "What differs" not in target.read_text()


@pytest.mark.parametrize("words", [("nobody", "--html", "x.html"), ("--where", "state=running", "--html", "x.html")])
def test_no_page_is_written_of_no_jobs(client: Client, words: tuple[str, ...]) -> None:
    client.run("report", *words, code=3)
    assert not (client.project / "x.html").exists()


def test_a_page_that_cannot_be_written_is_said(client: Client, tmp_path: Path) -> None:
    job = client.submit("--", "true")
    assert "cannot be written" in client.run("report", job, "--html", str(tmp_path / "no" / "x.html"), code=1).stderr
    assert "-html" in client.run("report", job, code=2).stderr
