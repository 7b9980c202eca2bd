"""One result told in words: on a terminal, in Markdown and as a page."""

from collections.abc import Sequence
from pathlib import Path

from transferbench.files import publish
from transferbench.reporting.compare import Comparison
from transferbench.reporting.deviations import edges, own
from transferbench.reporting.result import Result, VariantScore
from transferbench.reporting.tables import Cells, markdown_table, percent, text_table

HEAD = ("features", "dimensions", "ours", "C per split", "reference", "difference")
NUMBERS = ("dimensions", "ours", "reference", "difference")
_NAMED = 5


def text_report(result: Result, comparison: Comparison | None) -> str:
    """Tell a result on a terminal.

    Parameters
    ----------
    result : Result
        What was found.
    comparison : Comparison or None
        With the row that the recipe claims.

    Returns
    -------
    str
        A title, the table and remarks.
    """
    return "\n".join(
        [
            f"{result.recipe_name}: {headline(result)}",
            "",
            text_table(HEAD, score_rows(result, comparison), right=NUMBERS),
            "",
            *remarks(result, comparison),
            *(f"- {text}" for text in otherwise(comparison)),
        ]
    )


def markdown_report(result: Result, comparison: Comparison | None) -> str:
    """Tell a result in Markdown.

    Parameters
    ----------
    result : Result
        What was found.
    comparison : Comparison or None
        With the row that the recipe claims.

    Returns
    -------
    str
        Scores, values per class, provenance.
    """
    per_class = [[name, *(percent(value) for value in values)] for name, *values in _per_class(result)]
    variants = [variant.title for variant in result.scores]
    provenance = [[name, value] for name, value in provenance_rows(result)]
    sections = [
        f"# {result.recipe_name}",
        headline(result),
        markdown_table(HEAD, score_rows(result, comparison), right=NUMBERS),
        *remarks(result, comparison),
        *(["\n".join(f"- {text}" for text in otherwise(comparison))] if otherwise(comparison) else []),
        f"## {result.per_class_measure.capitalize()} per class, in per cent, mean over the splits",
        markdown_table(("class", *variants), per_class, right=variants),
        "## How it was made",
        markdown_table(("what", "value"), provenance),
        markdown_table(("stage", "seconds", "reused"), stage_rows(result), right=("seconds",)),
    ]
    return "\n\n".join(sections) + "\n"


def write_markdown(folder: Path, result: Result, comparison: Comparison | None) -> Path:
    """Write the Markdown form of a result beside it.

    Parameters
    ----------
    folder : Path
        Of the result.
    result : Result
        What it holds.
    comparison : Comparison or None
        With the row that the recipe claims.

    Returns
    -------
    Path
        ``report.md``.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    path = folder / "report.md"
    publish(path, markdown_report(result, comparison).encode())
    return path


def headline(result: Result) -> str:
    """Say in one line what was measured.

    Parameters
    ----------
    result : Result
        What was found.

    Returns
    -------
    str
        Metric, dataset and splits.
    """
    splits = own(result).splits
    sizes = {variant.splits[0].n_fit + variant.splits[0].n_validation for variant in result.scores}
    train = " to ".join(f"{size:,}" for size in sorted({min(sizes), max(sizes)}))
    trial = "TRIAL, " if result.limit is not None else ""
    return (
        f"{trial}{result.metric} in per cent on {result.dataset}, "
        f"{len(splits)} split{'s' if len(splits) > 1 else ''} "
        f"of {train} training and {splits[0].n_test:,} test images"
    )


def score_rows(result: Result, comparison: Comparison | None) -> Cells:
    """Return the cells of the score table.

    Parameters
    ----------
    result : Result
        What was found.
    comparison : Comparison or None
        With the row that the recipe claims.

    Returns
    -------
    sequence of sequences of str
        One row per variant, columns as `HEAD`.
    """
    rows = []
    claiming = own(result)
    for variant in result.scores:
        reference = difference = ""
        if variant is claiming and comparison is not None:
            reference = percent(comparison.row.value, comparison.row.spread)
            difference = f"{100 * comparison.difference:+.1f}"
        chosen = ", ".join(f"{split.C:g}" for split in variant.splits)
        rows.append(
            [variant.title, str(variant.dimensions), percent(variant.mean, variant.std), chosen, reference, difference]
        )
    return rows


def remarks(result: Result, comparison: Comparison | None) -> list[str]:
    """Say what a reader must know to trust the numbers.

    Parameters
    ----------
    result : Result
        What was found.
    comparison : Comparison or None
        With the row that the recipe claims.

    Returns
    -------
    list of str
        One sentence or two each.
    """
    lines = []
    if result.limit is not None:
        lines.append(
            f"TRIAL with up to {result.limit} images of every class (--limit): these numbers compare with no others."
        )
    if result.entry is not None:
        entry = result.entry
        lines.append(
            f"These are local numbers, none of the server's: its {entry.n_test} test entries were scored too, after "
            f"choosing C = {entry.C:g} on {entry.n_validation} and training on {entry.n_fit + entry.n_validation}. "
            f"To write them for it ({entry.competition}): tb submit {result.dataset} --recipe {result.recipe_name}"
        )
    lines += left_out(result)
    if any(variant.std is not None for variant in result.scores):
        lines.append("± is the standard deviation over the splits, n - 1 in the denominator.")
    if comparison is not None:
        lines.append(f"Reference: {comparison.row.source}. {comparison.sentence}.")
    for variant in result.scores:
        for number, (name, _) in enumerate(variant.splits[0].others):
            mean = sum(split.others[number][1] for split in variant.splits) / len(variant.splits)
            lines.append(f"{variant.title}: {name} {percent(mean)}.")
    told = set(otherwise(comparison))
    for variant in result.scores:
        text = edges(variant)
        if text and text not in told:
            lines.append(f"{variant.title}: {text}.")
    if told:
        lines.append("Done otherwise than for the reference:")
    return lines


def left_out(result: Result) -> list[str]:
    """Say which images could not be decoded, and what they are missing from.

    Parameters
    ----------
    result : Result
        What was found.

    Returns
    -------
    list of str
        One sentence, or none where nothing is left out.
    """
    if not result.skipped:
        return []
    named = [f"{one.id} ({one.reason})" for one in result.skipped[:_NAMED]]
    more = [f"{len(result.skipped) - _NAMED:,} more"] if len(result.skipped) > _NAMED else []
    splits = [
        (s.name, sum(s.name in i.training_in for i in result.skipped), sum(s.name in i.test_in for i in result.skipped))
        for s in result.scores[0].splits
    ]
    counts = "; ".join(f"split {name} lacks {train} training and {test} test images" for name, train, test in splits)
    return [
        f"LEFT OUT because they could not be decoded (--on-bad-image skip): {', '.join([*named, *more])}; {counts}."
    ]


def otherwise(comparison: Comparison | None) -> list[str]:
    """Say what was done otherwise than for the published number.

    Parameters
    ----------
    comparison : Comparison or None
        With the row that the recipe claims.

    Returns
    -------
    list of str
        One thing each, without a full stop.
    """
    return [] if comparison is None else [deviation.text for deviation in comparison.deviations]


def per_class_text(result: Result) -> str:
    """Tell the value of every class on a terminal.

    Parameters
    ----------
    result : Result
        What was found.

    Returns
    -------
    str
        A title and a table, best class first.
    """
    titles = [variant.title for variant in result.scores]
    per_class = [(name, values) for name, *values in _per_class(result)]
    first = result.scores.index(own(result))
    ranked = sorted(per_class, key=lambda row: -row[1][first])
    rows = [[name, *map(percent, values)] for name, values in ranked]
    what = f"{result.recipe_name}: {result.per_class_measure} per class, in per cent, mean over the splits"
    return "\n".join([what, "", text_table(("class", *titles), rows, right=titles)])


def provenance_rows(result: Result) -> list[tuple[str, str]]:
    """List what the result rests on.

    Parameters
    ----------
    result : Result
        What was found.

    Returns
    -------
    list of tuple of str
        Name and value.
    """
    rows = [
        ("created", result.created),
        ("inputs", f"sha256 {result.inputs_sha256}"),
        ("solver", result.solver),
        ("descriptors computed on", result.device),
    ]
    rows += [("commit", result.git_commit)] if result.git_commit else []
    rows += [
        (f"weights of net {w['net']['name']}", f"sha256 {w['sha256']}, {_origin(w['origin'])}") for w in result.weights
    ]
    rounds = {variant.train_per_class: variant.splits for variant in result.scores}  # floors have the same splits
    rows += [
        (f"splits {split.name}{'' if n is None else f', {n} per class'}", f"sha256 {split.sha256}")
        for n, splits in rounds.items()
        for split in splits
    ]
    rows += [(f"block {b.spec['net']['name']} {b.spec['short_side_px']} px", f"key {b.key}") for b in result.blocks]
    return rows + list(result.environment.items())


def _per_class(result: Result) -> list[tuple[str, *tuple[float, ...]]]:
    return [
        (name, *(mean_of_class(variant, number) for variant in result.scores))
        for number, name in enumerate(result.classes)
    ]


def mean_of_class(variant: VariantScore, number: int) -> float:
    """Average a class's value over the splits.

    Parameters
    ----------
    variant : VariantScore
        Whose.
    number : int
        Of the class.

    Returns
    -------
    float
        In [0, 1].
    """
    return sum(split.per_class[number] for split in variant.splits) / len(variant.splits)


def stage_rows(result: Result) -> Sequence[Sequence[str]]:
    """List the stages of the command that made a result.

    Parameters
    ----------
    result : Result
        What was found.

    Returns
    -------
    sequence of sequences of str
        Name, seconds, and whether it was reused.
    """
    return [[stage.name, f"{stage.seconds:.1f}", "yes" if stage.reused else "no"] for stage in result.stages]


def _origin(origin: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in origin.items() if not isinstance(value, dict))
