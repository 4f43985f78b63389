"""Sections of a page as Markdown, and its charts as pictures that stand alone."""

import re
from collections.abc import Sequence
from importlib import resources

from markupsafe import Markup

from lgcn_jax.reporting.charts import WIDTH, Chart, Grid
from lgcn_jax.reporting.sections import Section
from lgcn_jax.reporting.svg import tag

LEGEND = 18  # of a line of the legend


def render(title: str, lead: str, sections: Sequence[Section], folder: str) -> str:
    """The page; its charts lie in `folder` as NAME.svg."""
    blocks = [f"# {title}", f"**{lead}**"]
    for section in sections:
        blocks.append(f"## {section.title}")
        blocks += map(escaped, section.sentences)
        blocks += ["\n".join(f"- {escaped(text)}" for text in section.remarks)] if section.remarks else []
        for chart in (*section.charts, *section.wide):
            blocks.append(f"![{chart.title}]({folder}/{chart.name}.svg)\n\n*{chart.title}. {chart.sentence}*")
        blocks += map(table, (*section.beside, *section.tables, *section.folded))
    return "\n\n".join(blocks) + "\n"


def table(grid: Grid) -> str:
    """A table below its caption; where numbers stand at the right, all columns but the first do."""
    rule = ["---", *(["--:" if grid.numeric else "---"] * (len(grid.head) - 1))]
    rows = [grid.head, rule, *grid.rows]
    return f"{grid.caption}:\n\n" + "\n".join(f"| {' | '.join(map(cell, row))} |" for row in rows)


def cell(text: str) -> str:
    return escaped(text).replace("|", "\\|")


def escaped(text: str) -> str:
    """Text in which a star begins nothing."""
    return text.replace("*", "\\*").replace("_", "\\_") if "`" not in text else text


def standalone(chart: Chart) -> str:
    """The chart as an SVG file: with its colors, light and dark, and with its legend below."""
    box = re.search(r'viewBox="0 0 (\d+) (\d+)"', chart.picture)
    assert box is not None
    width, height = map(int, box.groups())
    legend = chart.legend if len(chart.legend) > 1 else ()
    whole = height + LEGEND * len(legend)
    inside = [tag("rect", x=0, y=0, width=width, height=whole, class_="paper"), *_legend(legend, height)]
    picture = chart.picture.replace(
        box[0],
        Markup('xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" width="{}"').format(width, whole, 2 * WIDTH),
    )
    start = picture.index(">") + 1
    return (
        str(
            picture[:start]
            + Markup("<style>{}</style>").format(Markup(_style()))
            + Markup("").join(inside)
            + picture[start:]
        )
        + "\n"
    )


def _legend(legend: Sequence[tuple[str, str]], height: int) -> list[Markup]:
    drawn = []
    for number, (name, kind) in enumerate(legend):
        y = height + LEGEND * number + 8
        drawn.append(tag("line", x1=54, x2=82, y1=y, y2=y, class_=f"line {kind}"))
        drawn.append(tag("text", name, x=90, y=y + 4))
    return drawn


def _style() -> str:
    """What the page's style sheet says of colors and of pictures."""
    css = resources.files("lgcn_jax.reporting").joinpath("assets", "report.css").read_text(encoding="utf-8")
    light, dark = re.findall(r":root \{[^}]*\}", css)[:2]
    rules = [line for line in css.splitlines() if line.startswith("svg ")]
    base = "svg { font-family: system-ui, sans-serif; } svg .paper { fill: var(--paper); }"
    return "\n".join([light, f"@media (prefers-color-scheme: dark) {{ {dark} }}", base, *rules])
