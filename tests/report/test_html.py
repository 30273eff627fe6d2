"""The report as one HTML file."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from report_outcomes import ONE, TWO
from report_runs import RunWriter, finished_run

from abcrown_graft.report import html
from abcrown_graft.report.document import SECTIONS, Document, full_markdown, read_document
from abcrown_graft.report.html import html_page
from abcrown_graft.report.section import Section, TableOf

pytest.importorskip("matplotlib")
VOID = ("meta", "img", "br")


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots are not what the test is about."""
    monkeypatch.setattr(html, "picture", lambda plot: b"<svg/>")


class Reader(HTMLParser):
    """The tags that are open, and the attributes and texts of all."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_page_needs_nothing_from_elsewhere(run: RunWriter) -> None:
    reader = Reader(html_page(read_document([run.folder])))
    assert reader.open == []
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in reader.tags}
    sources = [value for _, attributes in reader.tags for key, value in attributes.items() if key in ("src", "href")]
    assert len(sources) == 5 and all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert ("meta", "Content-Security-Policy") in [(tag, a.get("http-equiv")) for tag, a in reader.tags]
    assert all(attributes["alt"] for tag, attributes in reader.tags if tag == "img")


def test_a_page_says_what_the_markdown_says(run: RunWriter, undrawn: None) -> None:
    document = read_document([run.folder])
    texts, markdown = Reader(html_page(document)).texts, full_markdown(document)
    titles = [section.title for _, sections in document.chapters for section in sections]
    assert len(titles) == len(SECTIONS)
    for title in titles:
        assert title in texts and f"### {title}" in markdown
    for cells in (("all", "2", "0", "1", "1", "4"), ("grafted", "baseline", "1", "1", "1", "1", "100.0")):
        assert f"| {' | '.join(cells)} |" in markdown
        assert set(cells) <= set(texts)


def test_names_cannot_become_markup() -> None:
    outcome = replace(ONE, run="<b>", label="<script>alert(1)</script>")
    section = Section("<i>", ("<u>",), (TableOf(("<th>",), (("<td>",),)),))
    reader = Reader(html_page(Document([outcome], [("<h2>", [section])])))
    assert not {"b", "i", "u", "script"} & {tag for tag, _ in reader.tags}
    assert {"<b>", "<script>alert(1)</script>", "<i>", "<u>", "<th>", "<td>", "<h2>"} <= set(reader.texts)


def test_seeds_are_averaged_on_the_page_too() -> None:
    texts = Reader(html_page(Document([ONE, TWO], []))).texts
    assert "Mean ± standard deviation over seeds" in texts and "50.00 ± 14.14" in texts and "1, 2" in texts


def test_several_runs_are_chapters_that_the_page_begins_with(tmp_path: Path, undrawn: None) -> None:
    runs = [finished_run(tmp_path / name) for name in ("a", "b")]
    runs[0].record(label="grafting 50 %", ratio=0.5)
    document = read_document([run.folder for run in runs])
    assert [heading for heading, _ in document.chapters] == ["grafting 50 % (a)", "b"]
    links = [attributes["href"] for tag, attributes in Reader(html_page(document)).tags if tag == "a"]
    assert links == ["#run1", "#run2"]


def test_a_folder_given_twice_is_one_chapter(run: RunWriter) -> None:
    document = read_document([run.folder, run.folder / ".." / run.folder.name])
    assert [heading for heading, _ in document.chapters] == ["pixels"] and len(document.outcomes) == 2


def test_a_run_of_the_plain_network_alone_has_no_chapter(run: RunWriter) -> None:
    (run.folder / "verify_grafted.jsonl").unlink()
    document = read_document([run.folder])
    assert [outcome.name for outcome in document.outcomes] == ["baseline"] and document.chapters == []
