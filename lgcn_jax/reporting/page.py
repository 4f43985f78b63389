"""What a report tells -> one page of HTML, with its style sheet and script inside.

Jinja escapes everything that is put into the template, and pictures escape what is put into them (`svg.tag`); a content
security policy lets nothing run but the page's own script, and nothing be fetched.
"""

import base64
import hashlib
import re
from collections.abc import Sequence
from importlib import resources

import jinja2
from markupsafe import Markup

from lgcn_jax.reporting import numerals, of_quality, of_run
from lgcn_jax.reporting.contents import MODEL, POPULAR, ReportData
from lgcn_jax.reporting.sections import Section
from lgcn_jax.version import __version__

_NUMBER = re.compile(rf"[-+{numerals.MINUS}]?[\d,.]+(e[-+]?\d+)?( %)?|{numerals.NONE}")


def render(data: ReportData) -> str:
    """The page."""
    title = f"{data.model} on {data.interactions.name}"
    return render_document(
        title, _lead_sentence(data), _page_sections(data), alert=_alert_lines(data), tiles=_stat_tiles(data)
    )


def render_document(
    title: str,
    lead: str,
    sections: Sequence[Section],
    *,
    alert: Sequence[str] = (),
    tiles: Sequence[tuple[str, str, str]] = (),
) -> str:
    """A page of these sections; `alert` is what is to be known before all else, `tiles` are the figures at the top:
    name, value, and what it is held against."""
    style, script = (_read_asset(name) for name in ("report.css", "report.js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.tests["number"] = lambda text: bool(_NUMBER.fullmatch(text))
    return environment.from_string(_read_asset("report.html.jinja")).render(
        title=title,
        lead=lead,
        alert=alert,
        tiles=tiles,
        sections=sections,
        style=Markup(style),
        script=Markup(script),
        policy=_content_security_policy(style, script),
        version=__version__,
    )


def _page_sections(data: ReportData) -> Sequence[Section]:
    found, quality = data.findings, data.findings.quality if data.findings else None
    split = quality.split if quality else ""
    sections = []
    if quality:
        sections += [
            of_quality.quality_section(quality, _setting_value(data, "eval_split")),
            of_quality.groups_section(quality),
            of_quality.lists_section(quality),
            of_quality.scores_section(quality),
        ]
    if found:
        sections += [of_quality.map_section(data, found.item_map), of_quality.users_section(data, found.users, split)]
    return [
        *sections,
        of_run.training_section(data),
        of_run.data_section(data.interactions, split),
        of_run.settings_section(data.settings),
        of_run.environment_section(data.environment),
    ]


def _lead_sentence(data: ReportData) -> str:
    """One sentence about the run."""
    interactions, epochs = data.interactions, sum(row["split"] == "train" for row in data.rows)
    what = f"{numerals.count(interactions.num_users)} users, {numerals.count(interactions.num_items)} items"
    shown = f"; recommendations are those of epoch {data.findings.epoch}" if data.findings else ""
    trained = f"{numerals.count(epochs)} epoch{'' if epochs == 1 else 's'}"
    return f"{what}, {numerals.count(interactions.train.nnz)} train interactions. The run has {trained}{shown}."


def _alert_lines(data: ReportData) -> list[str]:
    """What a reader has to know before all else."""
    planned = _setting_value(data, "epochs")
    epochs = sum(row["split"] == "train" for row in data.rows)
    told = {
        "completed": [],
        "interrupted": [f"The run was interrupted after {epochs} of {planned} epochs; the same command continues it."],
        "failed": [f"The run failed: {data.error or 'it does not say why'}."],
        "unfinished": [f"The run has no result: it goes on, or was killed. It has {epochs} of {planned} epochs."],
    }.get(data.status, [f"The run ended as {data.status}."])
    notes = [f"{note}." for note in data.findings.notes] if data.findings else []
    missing = [] if data.findings else ["No checkpoint has been saved, so nothing can be said of recommendations."]
    return [*told, *missing, *notes]


def _setting_value(data: ReportData, setting: str) -> str:
    return next(row.value for row in data.settings if row.name == setting)


def _stat_tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """The figures at the top: name, value, and what it is held against."""
    quality = data.findings.quality if data.findings else None
    if not quality:
        return []
    tiles = []
    for name in ("recall", "ndcg"):
        key = f"{name}@{quality.watched}"
        ours, theirs = quality.means[MODEL][key], quality.means[POPULAR][key]
        tiles.append((f"{key}, {quality.split} part", numerals.metric(ours), f"popularity {numerals.metric(theirs)}"))
    ours, theirs = (quality.lists[model]["coverage"] for model in (MODEL, POPULAR))
    covered = f"items in some list of {quality.watched}"
    tiles.append((covered, numerals.percent(ours), f"popularity {numerals.percent(theirs)}"))
    tiles.append(("held-out above random (AUC)", numerals.percent(quality.auc), "chance 50.0 %"))
    return tiles


def _content_security_policy(style: str, script: str) -> str:
    def allowed(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    rules = f"style-src {allowed(style)}; script-src {allowed(script)}; img-src data:"
    return f"default-src 'none'; {rules}; base-uri 'none'; form-action 'none'"


def _read_asset(name: str) -> str:
    return resources.files("lgcn_jax.reporting").joinpath("assets", name).read_text(encoding="utf-8")
