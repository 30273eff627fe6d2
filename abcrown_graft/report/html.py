"""A report as one HTML file that needs nothing else: plots inside, no scripts, nothing fetched."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape

from abcrown_graft import __version__
from abcrown_graft.report.document import Document
from abcrown_graft.report.groups import group_by_seed
from abcrown_graft.report.render import picture
from abcrown_graft.report.section import Plot, Section
from abcrown_graft.report.table import (
    GROUP_HEADINGS,
    GROUP_TITLE,
    HEADINGS,
    LEGEND,
    TITLE,
    WORDS,
    cells,
    count_lines,
    group_cells,
)

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"  # the browser holds us to it
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto; max-width: 62rem;
  padding: 0 1rem; }
h1 { font-size: 1.7rem; } h2 { font-size: 1.35rem; margin-top: 3rem; border-bottom: 1px solid #ccc; }
h3 { font-size: 1.1rem; margin-top: 2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 0.9rem; margin: 0.8rem 0; }
th, td { padding: 0.25rem 0.7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { border-bottom: 2px solid #888; vertical-align: bottom; white-space: normal; }
th.word, td.word { text-align: left; white-space: nowrap; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; }
figcaption, .note { color: #555; font-size: 0.88rem; max-width: 46rem; }
"""


def html_page(document: Document) -> str:
    """The whole page.

    Raises:
        UnsupportedError: there are plots, and matplotlib is not installed.
    """
    body = [f"<h1>{TITLE}</h1>", *_overview(document), *_contents(document)]
    for number, (heading, sections) in enumerate(document.chapters, 1):
        body.append(f'<h2 id="run{number}">{escape(heading)}</h2>')
        for section in sections:
            body += _section(section)
    body.append(f'<p class="note">Made by abcrown-graft {__version__}.</p>')
    return _page("\n".join(body))


def _page(body: str) -> str:
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"<title>{TITLE}</title>\n<style>{STYLE}</style>"
    )
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n'


def _overview(document: Document) -> Iterator[str]:
    yield _table(HEADINGS, [cells(outcome) for outcome in document.outcomes])
    groups = group_by_seed(document.outcomes)
    if groups:
        yield f"<h2>{GROUP_TITLE}</h2>"
        yield _table(GROUP_HEADINGS, [group_cells(group) for group in groups])
    yield f'<p class="note">{escape(LEGEND)}</p>'
    yield _list(escape(line) for line in count_lines(document.outcomes))


def _contents(document: Document) -> Iterator[str]:
    if len(document.chapters) > 1:
        yield _list(f'<a href="#run{k}">{escape(heading)}</a>' for k, (heading, _) in enumerate(document.chapters, 1))


def _list(items: Iterator[str]) -> str:
    return f'<ul class="note">{"".join(f"<li>{item}</li>" for item in items)}</ul>'


def _section(section: Section) -> Iterator[str]:
    yield f"<h3>{escape(section.title)}</h3>"
    yield from (f"<p>{escape(words)}</p>" for words in section.text)
    yield from (_table(table.headings, table.rows) for table in section.tables)
    yield from (_figure(plot) for plot in section.plots)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    words = [k == 0 or heading in WORDS for k, heading in enumerate(headings)]
    body = "".join(_row("td", row, words) for row in rows)
    return f'<div class="wide"><table><thead>{_row("th", headings, words)}</thead><tbody>{body}</tbody></table></div>'


def _row(tag: str, row: Sequence[str], words: Sequence[bool]) -> str:
    marks = [' class="word"' if word else "" for word in words]
    return f"<tr>{''.join(f'<{tag}{mark}>{escape(cell)}</{tag}>' for cell, mark in zip(row, marks, strict=True))}</tr>"


def _figure(plot: Plot) -> str:
    """The plot as an image of its own, so that names inside it never meet those of another."""
    data = base64.b64encode(picture(plot)).decode("ascii")
    caption = escape(plot.caption)
    width = round(96 * plot.size[0])
    return (
        f'<figure><img src="data:image/svg+xml;base64,{data}" width="{width}" alt="{caption}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
