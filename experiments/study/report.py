"""Makes the report of the study of the files of results alone: python experiments/study/report.py

Writes REPORT.md with its pictures in figures/, REPORT.html, which holds everything, and findings.json, which has every
number of both beside the files and commands that they come from; and the answer into its marked place of README.md.
--check writes nothing and fails where a file would change.
"""

import re
import sys
import textwrap
from pathlib import Path

import answer
import chinese
import findings
import markdown
import of_folded_in
import of_losses
import of_others
import of_reasons
from absl import flags

from lgcn_jax.errors import InputError
from lgcn_jax.reporting import page
from lgcn_jax.reporting.sections import Section
from lgcn_jax.system import files

HERE = Path(__file__).parent
TITLE = "Does the enhanced loss help LightGCN? The paper's claims, tested"
FIGURES = "figures"
MARKED = re.compile(r"(<!-- study: answer -->\n).*?(?=<!-- end of study -->)", re.DOTALL)

FLAGS = flags.FlagValues()
FLAGS.set_gnu_getopt()
flags.DEFINE_string("results", str(HERE / "results"), "folder of the files of results", flag_values=FLAGS)
flags.DEFINE_string("out", str(HERE), "folder that gets the report", flag_values=FLAGS)
flags.DEFINE_string("readme", str(HERE.parents[1] / "README.md"), "a page that gets the answer", flag_values=FLAGS)
flags.DEFINE_bool("check", False, "write nothing, and say which files would change", flag_values=FLAGS)


def main(arguments: list[str]) -> None:
    try:
        FLAGS(arguments)
        found = findings.findings(*findings.read_all(Path(FLAGS.results)))
        made = {Path(FLAGS.out) / name: text for name, text in report(found).items()}
        made |= with_answer(Path(FLAGS.readme), answer.lead(found)) if FLAGS.readme else {}
    except (InputError, flags.Error) as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    if FLAGS.check:
        stale = [path.name for path, text in made.items() if _text(path) != text]
        sys.exit(f"not what report.py makes of the results: {', '.join(stale)}" if stale else 0)
    for path, text in made.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text.encode())
    print(f"wrote {', '.join(path.name for path in made if path.suffix != '.svg')} and the figures")


def with_answer(page: Path, said: str) -> dict[Path, str]:
    """The page with the answer in its marked place.

    Raises:
      InputError: it has no such place.
    """
    text = _text(page) or ""
    if not MARKED.search(text):
        raise InputError(page, "no place for the answer", "<!-- study: answer --> and <!-- end of study -->")
    return {page: MARKED.sub(lambda found: f"{found[1]}{textwrap.fill(said, 120)}\n", text)}


def report(found: findings.Findings) -> dict[str, str]:
    """The text of every file of the report, by its path below the folder of the report."""
    sections, lead = sections_of(found), answer.lead(found)
    charts = {chart.name: chart for section in sections for chart in (*section.charts, *section.wide)}
    return {
        "findings.json": findings.written(found),
        "REPORT.md": markdown.render(TITLE, lead, sections, FIGURES),
        "REPORT.html": page.render_document(TITLE, lead, sections),
        **{f"{FIGURES}/{name}.svg": markdown.standalone(chart) for name, chart in charts.items()},
    }


def sections_of(found: findings.Findings) -> list[Section]:
    return [
        answer.section(found),
        chinese.section(found),
        of_others.methods(found),
        of_losses.losses(found),
        of_losses.printed(found),
        of_losses.sensitivity(found),
        of_losses.datasets(found),
        of_reasons.gains(found),
        of_folded_in.folded_in(found),
        of_reasons.reasons(found),
        of_others.samplers(found),
        of_others.models(found),
        of_others.limits(found),
    ]


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    main(sys.argv)
