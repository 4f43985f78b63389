"""Sections about what the final vectors give: metrics, groups, lists, scores, the map and some users."""

from typing import Any

import numpy as np

from lgcn_jax.reporting import charts, numerals
from lgcn_jax.reporting.charts import Chart, Grid, Series
from lgcn_jax.reporting.contents import LISTED, MODEL, POPULAR, TRAIN, ItemMap, Quality, ReportData, Table, UserLists
from lgcn_jax.reporting.sections import Label, RecommendedItem, Section, UserCard

SHADES = 5  # of popularity on the map
BINS = 40
SHOWN = 12  # items of a history that are named


def quality_section(quality: Quality, chosen_on: str) -> Section:
    """Metrics by list length beside popularity; the epoch was chosen on the part `chosen_on`."""
    names = ("recall", "ndcg", "precision")
    rows = [
        [f"{name}, {model}", *(numerals.metric(means[f"{name}@{k}"]) for k in quality.k)]
        for name in names
        for model, means in quality.means.items()
    ]
    table = Grid(f"Metrics by list length k, {quality.split} part", ["", *(f"k = {k}" for k in quality.k)], rows)
    told = (
        f"Means over the {numerals.count(quality.num_users)} users with an item in the {quality.split} part. All items "
        "are ranked but those that the user has already. Popularity recommends the most popular items to everybody."
    )
    chosen = "The epoch was chosen on this very part, as in the papers, which flatters it a little."
    told += f" {chosen}" if quality.split == chosen_on else ""
    by_k = [_chart_by_k(quality, name) for name in names]
    return Section("quality", "Quality", [told], charts=by_k, tables=[table])


def _chart_by_k(quality: Quality, name: str) -> Chart:
    ks = np.array(quality.k, float)
    series = [
        Series(model, ks, np.array([means[f"{name}@{k}"] for k in quality.k])) for model, means in quality.means.items()
    ]
    ours, theirs = (quality.means[model][f"{name}@{quality.watched}"] for model in (MODEL, POPULAR))
    times = f", {ours / theirs:.1f} times as much" if theirs > 0 else ""
    sentence = (
        f"{name}@{quality.watched} is {numerals.metric(ours)}; popularity's is {numerals.metric(theirs)}"
        f"{times if ours > theirs else ''}."
    )
    how: dict[str, Any] = {"show": numerals.metric, "zero": True, "log_x": True, "x_ticks": quality.k}
    return charts.line_chart(
        f"by-k-{name}", f"{name} by list length", sentence, series, x_label="k (logarithmic)", **how
    )


def groups_section(quality: Quality) -> Section:
    """Whom the model serves, and which items it finds."""
    told = (
        "Users are in groups of about equal interactions in all parts, items in groups of about equal train "
        "interactions: the first group has many users, or items, with little each."
    )
    found = [_chart_of_user_groups(quality, name) for name in ("recall", "ndcg")]
    return Section("groups", "Groups of users and items", [told], charts=[*found, *_charts_of_item_groups(quality)])


def _chart_of_user_groups(quality: Quality, name: str) -> Chart:
    key, tables = f"{name}@{quality.watched}", quality.user_groups
    ours = tables[MODEL]
    labels = _range_labels(ours["up_to"], "items")
    best, worst = int(np.nanargmax(ours[key])), int(np.nanargmin(ours[key]))
    sentence = (
        f"Highest for users with {labels[best]} ({numerals.metric(ours[key][best])}), lowest for those with "
        f"{labels[worst]} ({numerals.metric(ours[key][worst])})."
    )
    values = {model: table[key] for model, table in tables.items()}
    more = {"users": [numerals.count(n) for n in ours["users"]]}
    title = f"{key} by what users have"
    return charts.bar_chart(f"users-{name}", title, sentence, labels, values, row_label="users with", more=more)


def _charts_of_item_groups(quality: Quality) -> list[Chart]:
    k, tables = quality.watched, quality.item_groups
    labels = _range_labels(tables[MODEL]["up_to"], "users")
    counts = {"items": [numerals.count(n) for n in tables[MODEL]["items"]]}
    how: dict[str, Any] = {"row_label": "items with", "more": counts, "show": numerals.percent}
    found, shown = _column_values(tables, f"found@{k}"), _column_values(tables, f"exposure@{k}")
    half = len(labels) // 2
    rare = float(np.sum(shown[MODEL][:half]))
    told_found = (
        f"Of the {quality.split} part's pairs with an item of the group, the share that is among the first {k}: "
        f"{numerals.percent(found[MODEL][-1])} in the most popular group, "
        f"{numerals.percent(found[MODEL][0])} in the rarest."
    )
    told_shown = (
        f"Each group has about {numerals.percent(1 / len(labels))} of the train interactions. The {half} rarest groups "
        f"together get {numerals.percent(rare)} of the recommendations."
    )
    return [
        charts.bar_chart("items-found", "Found, by popularity of the item", told_found, labels, found, **how),
        charts.bar_chart("items-shown", "Recommended, by popularity of the item", told_shown, labels, shown, **how),
    ]


def _column_values(tables: dict[str, Table], key: str) -> dict[str, np.ndarray]:
    return {model: table[key] for model, table in tables.items()}


def _range_labels(bounds: np.ndarray, what: str) -> list[str]:
    """Labels of groups by the largest size of each, such as at most 4 users, 5 to 9, 10."""
    before = [0, *bounds[:-1].tolist()]
    labels = [numerals.span(a + 1, b) for a, b in zip(before, bounds.tolist(), strict=True)]
    return [f"≤ {numerals.count(bounds[0])} {what}", *labels[1:]]


def lists_section(quality: Quality) -> Section:
    """Coverage and popularity of what is recommended."""
    kinds = {
        "coverage": ("coverage", numerals.percent),
        "average_popularity": ("average popularity", numerals.amount),
        "novelty": ("novelty", numerals.amount),
        "gini": ("Gini coefficient", numerals.metric),
    }
    rows = [[text, *(show(each[name]) for each in quality.lists.values())] for name, (text, show) in kinds.items()]
    k, ours = quality.watched, quality.lists[MODEL]
    told = (
        f"The first {k} recommendations of every evaluated user hold {numerals.percent(ours['coverage'])} of all "
        f"items. A recommended item has {numerals.amount(ours['average_popularity'])} train users on average, the item "
        f"of a train interaction {numerals.amount(quality.lists[TRAIN]['average_popularity'])}."
    )
    terms = (
        "Coverage is the share of all items that somebody gets; novelty the mean of log2(users / users who have the "
        "item), in bits; the Gini coefficient is 0 where all items are recommended alike, and 1 where one gets all."
    )
    title = f"What the lists of {k} hold, beside popularity's lists and the train part's interactions"
    return Section("lists", "What is recommended", [told, terms], tables=[Grid(title, ["", *quality.lists], rows)])


def scores_section(quality: Quality) -> Section:
    """Distributions of the scores of three kinds of pairs."""
    known = np.concatenate(list(quality.scores.values()))
    low, high = np.quantile(known, [0.001, 0.999]).tolist()
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = {
        name: np.histogram(each.clip(edges[0], edges[-1]), edges)[0] / max(len(each), 1)
        for name, each in quality.scores.items()
    }
    sentence = (
        f"In {numerals.percent(quality.auc)} of all pairs of a held-out and a random unseen item, the held-out one has "
        "the higher score (AUC)."
    )
    counts = ", ".join(f"{numerals.count(len(each))} {name}s" for name, each in quality.scores.items())
    title = "Scores, as shares of their kind"
    chart = charts.histogram_chart("score-shares", title, sentence, edges, shares, x_label="score (dot product)")
    told = (
        f"Of {counts}, drawn with a fixed seed where there are more. "
        "What lies beyond the outermost bins is counted there."
    )
    return Section("scores", "Scores", [told], charts=[chart])


def map_section(data: ReportData, found: ItemMap) -> Section:
    """The items in the plane."""
    shades = _degree_shades(found.degrees)
    of_shade = {shade: found.degrees[shades == shade] for shade in np.unique(shades).tolist()}
    legend = [(f"{numerals.span(each.min(), each.max())} users", f"p{shade}") for shade, each in of_shade.items()]
    items = [item_label(data, number) for number in found.items.tolist()]
    titles = [
        f"{item.title}{f', id {item.id}' if item.id else ''}, {numerals.count(n)} users"
        for item, n in zip(items, found.degrees, strict=True)
    ]
    rows = [
        [item.title, item.id or item.title, numerals.count(n), f"{x:.3f}", f"{y:.3f}"]
        for item, n, (x, y) in zip(items[::-1], found.degrees[::-1], found.xy[::-1].tolist(), strict=True)
    ]
    grid = Grid("Items of the map, the most popular first", ["item", "id", "users", "x", "y"], rows)
    drawn = len(found.items) - found.popular
    told = f"All {numerals.count(found.num_items)} items"
    if drawn:
        whole, popular, others = (numerals.count(n) for n in (found.num_items, found.popular, drawn))
        told = f"Of {whole} items, the {popular} most popular and {others} others, drawn with a fixed seed"
    first, second = (numerals.percent(share) for share in found.explained)
    sentence = (
        f"{told}. The two main directions (PCA) of all final item vectors, across {first} and up {second} of their "
        "variance: items near each other are recommended to similar users."
    )
    chart = charts.scatter_chart("map", "Map of the items", sentence, found.xy, shades.tolist(), titles, grid, legend)
    return Section("items", "Items", wide=[chart])


def _degree_shades(degrees: np.ndarray) -> np.ndarray:
    """int[n], ascending: the SHADES equal shares of the items by popularity; equal ones stay together."""
    bounds = np.unique(np.quantile(degrees, np.arange(1, SHADES) / SHADES))
    return np.searchsorted(bounds, degrees, side="left")


def users_section(data: ReportData, users: list[UserLists], split: str) -> Section:
    """Some users' histories beside their recommendations."""
    told = (
        "One user, drawn with a fixed seed, of each of so many equal shares of the users by their number of train "
        "items. Histories name the most popular items first."
    )
    degrees = np.bincount(data.interactions.train.indices, minlength=data.interactions.num_items)
    hits = [len(np.intersect1d(each.recommended, each.relevant)) for each in users]
    opened = {0, int(np.argmax(hits))} if users else set()
    cards = [_user_card(data, each, split, degrees, number, number in opened) for number, each in enumerate(users)]
    return Section("users", f"{len(users)} users and their lists", [told], cards=cards)


def _user_card(
    data: ReportData, lists: UserLists, split: str, degrees: np.ndarray, number: int, opened: bool
) -> UserCard:
    history = lists.history[np.argsort(-degrees[lists.history], kind="stable")].tolist()
    relevant, shown = set(lists.relevant.tolist()), lists.recommended.tolist()
    missed = [item for item in lists.relevant.tolist() if item not in set(shown)]
    hits = len(relevant) - len(missed)
    counted = f"{numerals.count(len(history))} item{'' if len(history) == 1 else 's'}"
    scored = f", {hits} of {len(relevant)} held-out ones among the first {LISTED}" if relevant else ""
    return UserCard(
        name=f"user-{number + 1}",
        user=Label(*_title_and_id(data.interactions.user_titles, data.interactions.user_ids, lists.user)),
        summary=f"{counted}{scored}",
        history=[item_label(data, item) for item in history[:SHOWN]],
        more=max(len(history) - SHOWN, 0),
        recommended=[
            RecommendedItem(item_label(data, item), f"{score:.2f}", item in relevant)
            for item, score in zip(shown, lists.scores.tolist(), strict=True)
        ],
        missed=[item_label(data, item) for item in missed[:SHOWN]],
        missed_more=max(len(missed) - SHOWN, 0),
        opened=opened,
    )


def item_label(data: ReportData, number: int) -> Label:
    """How an item is called."""
    return Label(*_title_and_id(data.interactions.item_titles, data.interactions.item_ids, number))


def _title_and_id(titles: np.ndarray | None, ids: np.ndarray, number: int) -> tuple[str, str]:
    """A title and an id; the id alone where there is no title."""
    title = "" if titles is None else titles[number]
    return (str(title), str(ids[number])) if title else (str(ids[number]), "")
