"""A page of all figures, each with the paper's settings and the findings it must show."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from ..config import show_config
from .marks import replace
from .output import About, Outcome, Settings

__all__ = ["Section", "write_report"]


@dataclass(frozen=True)
class Section:
    """One figure as it was computed."""

    name: str
    about: About
    outcome: Outcome
    seconds: float


def write_report(settings: Settings, sections: Sequence[Section]) -> None:
    """Write report.html, which needs no other file; pictures are read from the same directory."""
    body = "\n".join(_section(settings, section) for section in sections)
    links = "".join(f'<li><a href="#{s.name}">{escape(s.about.title)}</a></li>' for s in sections)
    checks = [e.holds(s.outcome.panels) for s in sections for e in s.about.expectations]
    kind = "small versions, which need not show every finding" if settings.quick else "in full size"
    page = _PAGE.format(
        style=_STYLE,
        summary=f"{len(sections)} figures, {kind}; {sum(checks)} of {len(checks)} findings "
        f"hold. Computed in {sum(s.seconds for s in sections):.0f} s, "
        f"{time.strftime('%Y-%m-%d')}.",
        links=links,
        body=body,
        config=escape(show_config()),
        mark=escape(settings.mark("all")),
    )
    settings.expect_replaceable("all", ["report.html"])
    replace(settings.out / "report.html", page.encode())


def _section(settings: Settings, section: Section) -> str:
    picture = base64.b64encode((settings.out / f"{section.name}.png").read_bytes()).decode("ascii")
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
        for row in section.about.compared(section.outcome.panels)
    )
    seen = "".join(
        f'<li class="{"yes" if held else "no"}"><strong>{"holds" if held else "does not hold"}'
        f"</strong> {escape(expectation.text)}</li>"
        for expectation in section.about.expectations
        for held in (expectation.holds(section.outcome.panels),)
    )
    title = escape(section.about.title)
    return f"""<section id="{section.name}">
<h2>{title}</h2>
<img src="data:image/png;base64,{picture}" alt="{title}">
<h3>Expected findings</h3>
<ul class="seen">{seen}</ul>
<h3>Settings</h3>
<div class="wide"><table><thead><tr><th></th><th>in the paper</th><th>here</th></tr></thead>
<tbody>{rows}</tbody></table></div>
<details><summary>Numbers ({section.seconds:.1f} s)</summary>
<pre>{escape(section.outcome.text)}</pre></details>
</section>"""


_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
section { border-top: 1px solid #8888; margin-top: 2.5rem; }
img { max-width: 100%; background: white; border-radius: 4px; }
.wide, pre { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 0.2rem 1rem 0.2rem 0;
  border-bottom: 1px solid #8884; }
.seen { list-style: none; padding: 0; }
.seen strong { display: inline-block; min-width: 8rem; }
.seen .yes strong::before { content: "\\2713  "; }
.seen .no strong::before { content: "\\2717  "; }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="{mark}">
<link rel="icon" href="data:,">
<title>Kernel and rich regimes: the figures, computed</title>
<style>{style}</style>
</head>
<body>
<h1>Kernel and rich regimes: the figures, computed</h1>
<p>Figures of Woodworth et al., <cite>Kernel and Rich Regimes in Overparametrized Models</cite>
(COLT 2020), by kernelrich_fast. {summary}</p>
<nav><ul>{links}</ul></nav>
{body}
<section id="machine"><h2>Versions and backends</h2><pre>{config}</pre></section>
</body>
</html>
"""
