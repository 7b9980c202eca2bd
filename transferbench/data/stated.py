"""What a survey found beside what the record states: counts of images, of people, of classes; overlap of parts."""

from collections import Counter
from itertools import combinations

from transferbench.data.protocols import protocol_parts
from transferbench.data.record import DatasetRecord, Part
from transferbench.data.survey import Finding, Severity, Survey, some
from transferbench.types.labels import ClassLabels


def compare_with_record(survey: Survey) -> list[Finding]:
    """Hold a survey against its record.

    Parameters
    ----------
    survey : Survey
        Of a recognised layout; an unrecognised one gives nothing to compare.

    Returns
    -------
    list of Finding
        Numbers that the record marks as unverified are reported as information whatever they are.
    """
    if not survey.layout:
        return []
    findings = []
    for name, stated in survey.record.parts.items():
        findings += _compare_part(survey, name, stated)
    for name in survey.record.class_counts:
        if name in survey.parts:
            findings.append(_compare_classes(survey, name))
    findings += _compare_sizes(survey)
    findings += _overlaps(survey)
    return findings


def class_totals(survey: Survey, part: str) -> dict[str, tuple[int, int]]:
    """Count a part by class.

    Parameters
    ----------
    survey : Survey
        What was found.
    part : str
        One of its parts.

    Returns
    -------
    dict of str to tuple of int
        For every class the positive and the difficult-only images; for single labels the second is 0.
    """
    labels, ids = survey.labels, survey.parts[part]
    if isinstance(labels, ClassLabels):
        counts = Counter(labels.by_id[i] for i in ids if i in labels.by_id)
        return {name: (counts[k], 0) for k, name in enumerate(labels.classes)}
    rows = [labels.by_id[i] for i in ids if i in labels.by_id]
    return {
        name: (sum(row[k] == 1 for row in rows), sum(row[k] == 0 for row in rows))
        for k, name in enumerate(labels.classes)
    }


def _compare_part(survey: Survey, name: str, stated: Part) -> list[Finding]:
    ids = survey.parts.get(name, ())
    if not ids:
        if stated.needed and not any(f.is_problem for f in survey.findings):
            return [Finding("missing", f"the part {name} ({stated.use}) is empty", "", "tb datasets fetch")]
        return []
    found = {"images": len({survey.files.get(i, i) for i in ids}), "people": len(ids)}
    findings = []
    for what, expected in (("images", stated.images), ("people", stated.people)):
        if expected is not None:
            findings.append(
                _compare_count(survey.record, f"{name}: {found[what]:,} {what}", found[what], expected, stated)
            )
    return findings or [Finding("ok", f"{name}: {found['images']:,} images; no count is published")]


def _compare_count(record: DatasetRecord, sentence: str, found: int, expected: int, stated: Part) -> Finding:
    if not stated.verified:
        return Finding("info", f"{sentence}; {expected:,} are expected, a number that is not verified")
    if found == expected:
        return Finding("ok", sentence)
    todo = "unpack again what is missing, remove what was added" if record.archives else "see the record"
    return Finding("wrong", f"{sentence}, but {expected:,} are published", "", todo)


def _compare_classes(survey: Survey, part: str) -> Finding:
    found = class_totals(survey, part)
    other = []
    for name, (positive, difficult) in survey.record.class_counts[part].items():
        counted = found[name]
        if counted[0] != positive or difficult not in {None, counted[1]}:
            expected = f"{positive}" if difficult is None else f"{positive} and {difficult} difficult"
            shown = f"{counted[0]}" if difficult is None else f"{counted[0]} and {counted[1]} difficult"
            other.append(f"{name} {shown} instead of {expected}")
    if other:
        return Finding("wrong", f"{part}: class counts differ: {'; '.join(other)}", "", "unpack the label files again")
    return Finding(
        "ok", f"{part}: the counts of {len(survey.record.class_counts[part])} classes are the published ones"
    )


def _compare_sizes(survey: Survey) -> list[Finding]:
    """Look at the smallest and the largest class of the first part: all images, or the training images."""
    sizes = survey.record.class_sizes
    part = next(iter(survey.record.parts))
    if not isinstance(survey.labels, ClassLabels) or not survey.parts.get(part):
        return []
    counts = {name: positive for name, (positive, _) in class_totals(survey, part).items()}
    smallest, largest = min(counts.items(), key=lambda c: c[1]), max(counts.items(), key=lambda c: c[1])
    sentence = f"class sizes of {part} from {smallest[1]:,} ({smallest[0]}) to {largest[1]:,} ({largest[0]})"
    if sizes is None:
        return [Finding("info", sentence)]
    expected = f"{sizes.smallest:,} to {sizes.largest:,}" if sizes.largest else f"{sizes.smallest:,} for the smallest"
    agrees = smallest[1] == sizes.smallest and sizes.largest in {None, largest[1]}
    severity: Severity = "info" if not sizes.verified else "ok" if agrees else "wrong"
    remark = "" if sizes.verified else ", a number that is not verified"
    return [Finding(severity, f"{sentence}; expected {expected}{remark}")]


def _overlaps(survey: Survey) -> list[Finding]:
    """Look for images in two parts of the protocol. People of one image must be in one part, too."""
    findings = []
    names = [name for name in dict.fromkeys(protocol_parts(survey.record.protocol)) if name in survey.parts]
    for one, other in combinations(names, 2):
        files = {survey.files.get(i, i) for i in survey.parts[one]}
        shared = sorted(i for i in survey.parts[other] if survey.files.get(i, i) in files)
        if shared:
            what = f"{some(shared, 'image')}, in both {one} and {other}"
            findings.append(Finding("wrong", what, "", "unpack the lists again"))
    return findings
