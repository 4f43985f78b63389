"""Elements of a picture as text in which everything from outside is escaped."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup


def tag(name: str, content: Iterable[Markup] | str = "", /, **attributes: object) -> Markup:
    """An element; `class_` is `class`, `stroke_width` is `stroke-width`, and what is None is left out.

    >>> tag("text", "a < b", x=1.50, class_="label")
    Markup('<text x="1.5" class="label">a &lt; b</text>')
    """
    inside = Markup("{}").format(content) if isinstance(content, str) else Markup("").join(content)
    stated = (
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), format_coordinate(value))
        for key, value in attributes.items()
        if value is not None
    )
    start = Markup("<") + Markup(name) + Markup("").join(stated)
    return start + (Markup(">") + inside + Markup("</{}>").format(name) if inside else Markup("/>"))


def format_coordinate(value: object) -> object:
    """A coordinate with as many digits as can be seen."""
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else value


def path_data(points: Sequence[tuple[float, float]]) -> str:
    """A line through the points."""
    return "M" + "L".join(f"{format_coordinate(float(x))} {format_coordinate(float(y))}" for x, y in points)
