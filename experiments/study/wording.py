"""Numbers and verdicts in words."""

from typing import Any

from differences import verdict

from lgcn_jax.reporting.intervals import Interval
from lgcn_jax.reporting.numerals import MINUS, NONE, difference, metric

ENGLISH = {
    "better": "higher, beyond chance",
    "worse": "lower, beyond chance",
    "unclear": "no difference that can be told from chance",
    "too few": "too few seeds for a test",
}
NAMES = {
    "bpr": "BPR",
    "both": "the paper's loss",
    "margin": "the margin alone",
    "contrast": "the contrastive term alone",
}


def name_of(condition: str) -> str:
    return NAMES.get(condition, condition)


def p_value(value: float) -> str:
    """p = 0.023, p < 0.001."""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def p_values(found: dict[str, Any]) -> list[str]:
    """The p-value alone and corrected, for a table; dashes where there are too few pairs for a test."""
    if found["p (Holm)"] is None:
        return [NONE, NONE]
    return [p_value(found[key]).removeprefix("p ").removeprefix("= ") for key in ("p", "p (Holm)")]


def percent(value: float | None) -> str:
    """+1.2 %, with the sign."""
    if value is None:
        return NONE
    written = f"{value:+.1f} %"
    return written[1:] if float(written[:-2]) == 0 else written.replace("-", MINUS)


def between(found: dict[str, Any]) -> str:
    """from -0.0003 to +0.0027."""
    return f"from {difference(found['low'])} to {difference(found['high'])}"


def spread(value: float | None) -> str:
    """A standard deviation; a dash where there is a single run."""
    return NONE if value is None else metric(value)


def pairs_of(found: dict[str, Any]) -> str:
    """10 seeds."""
    return f"{found['pairs']:,} {found['over'] if found['pairs'] != 1 else found['over'][:-1]}"


def told(found: dict[str, Any]) -> str:
    """+0.0012 (+0.4 %; 95 % interval from .. to .., 10 seeds, p = 0.020)."""
    if found["low"] is None:
        return f"{difference(found['difference'])} ({percent(found['relative'][0])}; {pairs_of(found)})"
    p = "no test" if found["p (Holm)"] is None else p_value(found["p"])
    if found["p (Holm)"] is not None and found["family size"] > 1:
        p += f", corrected for {found['family size']} tests {p_value(found['p (Holm)'])}"
    about = f"95 % interval {between(found)}, {pairs_of(found)}, {p}"
    return f"{difference(found['difference'])} ({percent(found['relative'][0])}; {about})"


def judged(found: dict[str, Any]) -> str:
    """The verdict in words; of users it is one on the models that were trained, whatever other seeds would give."""
    of = ", of these models" if found["over"] == "users" else ""
    return ENGLISH[verdict(found)] + of


def means(found: dict[str, Any]) -> str:
    """0.2699 against 0.2705."""
    return f"{metric(found['means'][1])} against {metric(found['means'][0])}"


def interval(found: dict[str, Any], label: str) -> Interval:
    """A row of a chart of intervals; its dots are the seeds' differences."""
    low, high = (float("nan") if found[end] is None else found[end] for end in ("low", "high"))
    return Interval(label, found["difference"], low, high, pairs_of(found), found.get("values", ()))


def listed(words: list[str]) -> str:
    """a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
