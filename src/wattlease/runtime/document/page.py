"""The page and its parts, as HTML; every text is escaped here and nowhere else."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from html import escape
from importlib.resources import as_file, files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

import orjson

from wattlease.runtime.document.picture import Picture, Table

LONG_COLUMNS = frozenset({"last said", "what happened", "event", "value"})
"""Columns of sentences: they begin at the left, and wrap."""

PLOTLY = "plotly.min.js"

PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
$css</style>
</head>
<body>
<header>
<h1>$title</h1>
<p class="soft">$subtitle</p>
</header>
<main>
$body
</main>
$plotly
<script>
$js</script>
</body>
</html>
""")


def page(title: str, subtitle: str, parts: Iterable[str], *, alone: bool = False) -> str:
    """The page of these parts. `alone` puts the chart's library inside, so that the file can be sent by itself (4 MB
    more); else `add_plotly` must lay it beside the page."""
    return PAGE.substitute(
        title=escape(title),
        subtitle=escape(subtitle),
        css=_static("document.css"),
        js=_static("document.js"),
        plotly=f"<script>{_plotly_text()}</script>" if alone else f'<script src="{PLOTLY}"></script>',
        body="\n".join(filter(None, parts)),
    )


def add_plotly(folder: Path) -> None:
    """Lay the chart's library into the folder of a page."""
    with as_file(_plotly()) as script:
        shutil.copyfile(script, folder / PLOTLY)


def tiles(shown: Iterable[tuple[str, str, str]]) -> str:
    """Figures at a glance: name, text, and how it sounds (`good`, `bad` or nothing)."""
    cells = (f'<div><dt>{escape(name)}</dt><dd class="{tone}">{escape(text)}</dd></div>' for name, text, tone in shown)
    return f'<dl class="tiles">{"".join(cells)}</dl>'


def section(title: str, rows: Table, note: str = "") -> str:
    """A table under a title."""
    words = f'<p class="soft">{escape(note)}</p>' if note else ""
    return f"<section>\n<h2>{escape(title)}</h2>{words}\n{table(rows)}\n</section>"


def figure(picture: Picture) -> str:
    """A chart, in words and as a table too."""
    # "<" would let a name leave the script element, or be markup to plotly, which reads the entity as the character
    data = orjson.dumps({"traces": picture.traces, "layout": picture.layout}, option=orjson.OPT_SERIALIZE_NUMPY)
    inert = data.decode().replace("<", "&lt;")
    words = escape(picture.words)
    return f"""<figure>
<h2>{escape(picture.title)}</h2>
<figcaption>{words}</figcaption>
<div class="plot" role="img" aria-label="{escape(picture.title)}: {words}" style="height:{picture.height_px}px"></div>
<script type="application/json">{inert}</script>
<details><summary>The same as a table</summary>
{table(picture.table)}
</details>
</figure>"""


def table(rows: Table) -> str:
    """Rows of text, head first, in a frame of their own that scrolls."""
    head, *rest = rows
    kinds = [' class="long"' if name in LONG_COLUMNS else "" for name in head]
    cells = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(head, kinds, strict=True))
    lines = ("".join(f"<td{k}>{escape(text)}</td>" for text, k in zip(row, kinds, strict=True)) for row in rest)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{cells}</tr></thead>\n<tbody>{body}</tbody></table></div>'
    )


def _static(name: str) -> str:
    return (files("wattlease.runtime.document") / name).read_text(encoding="utf-8")


def _plotly() -> Traversable:
    return files("plotly") / "package_data" / PLOTLY


def _plotly_text() -> str:
    return _plotly().read_text(encoding="utf-8").replace("</script", "<\\/script")
