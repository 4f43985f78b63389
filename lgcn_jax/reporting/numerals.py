"""Numbers as a reader wants them."""

import math

NONE = "\N{EN DASH}"  # stands for a value that there is none of
MINUS = "\N{MINUS SIGN}"


def count(value: float) -> str:
    """A whole number with separators: 1,234."""
    return f"{int(value):,}"


def metric(value: float) -> str:
    """Four digits after the point; a dash for what there is none of."""
    return NONE if not math.isfinite(value) else f"{value:.4f}"


def difference(value: float) -> str:
    """Four digits after the point with the sign, also that of a plus; 0 has none, nor has what rounds to it."""
    if not math.isfinite(value):
        return NONE
    written = f"{value:+.4f}"
    return written[1:] if float(written) == 0 else written.replace("-", MINUS)


def percent(value: float) -> str:
    """A share: 12.3 %."""
    return NONE if not math.isfinite(value) else f"{100 * value:.1f} %"


def share(value: float) -> str:
    """A round share on an axis: 20 %."""
    return f"{100 * value:.3g} %"


def span(low: float, high: float) -> str:
    """Whole numbers from one to another with a dash between them; the number alone where it is one."""
    return count(low) if low == high else f"{count(low)}\N{EN DASH}{count(high)}"


def amount(value: float) -> str:
    """Any number in about four digits: 1,234, 56.78, 0.001234, 1.2e-05."""
    if not math.isfinite(value):
        return NONE
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def seconds(value: float) -> str:
    """A time: 8.1 s, 3 min 5 s, 2 h 10 min."""
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
