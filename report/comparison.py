"""The rows of an experiment beside each other: their scores, how sure these are, what each modality adds."""

import json
from collections.abc import Iterator, Mapping, Sequence

from pydantic import JsonValue

from model.measures.experiment_files import Comparison, Floor, Row
from model.measures.results import Summary
from pipeline import conventions
from pipeline.tables import MODALITIES
from report import published
from report.tables import MEAN, Emphasised, Table, cell, number, rounded, signed

BOOTSTRAP = "95 % intervals: bootstrap over videos, as clips of one video are not independent, of the mean over seeds"
OTHERS = (
    'Published figures have the digits that they were printed with, MAE and Corr three at most; "-" is unpublished.'
)
BEST = "Bold: the best of our rows."
NOTHING = Summary(means={})
CERTAIN = ("mae", "corr")  # whose differences are told
HEADS = (
    "The unimodal outputs on the test split against true unimodal labels (label_T, label_A, label_V: people's, or the "
    "demo's own), means over seeds."
)
CONTRIBUTIONS = (
    "Change of the test MAE (mean ± standard deviation over seeds) when a modality is masked, and when each clip is given "
    "that of another test clip: above 0, the modality helps."
)


def tables(record: Comparison, caption: str) -> Iterator[Table]:
    yield _scores(record, caption)
    yield _certainty(record, caption)
    yield _contributions(record.rows, caption)
    yield _heads(record.rows, caption)


def _scores(record: Comparison, caption: str) -> Table:
    """Ours, the floors, what was published on the data set."""
    convention = conventions.find(record.convention)
    columns = convention.columns
    others = published.rows(record.dataset, record.name)
    best = _best(record.rows, [name for names in columns.values() for name in names])
    rows = [
        *(_ours(row, columns, best) for row in record.rows),
        *(_floor(floor, columns) for floor in record.floors),
        *((o.model, *map(o.cell, columns.values()), o.setting or "-", o.seeds or "-", o.source) for o in others),
    ]
    explained = [f"{floor.label}: {floor.note}." for floor in record.floors if floor.note]
    misprints = dict.fromkeys(other.note for other in others if other.note)
    marks = [BEST, _star(record.reference)] if len(record.rows) > 1 else []
    note = " ".join([convention.note, MEAN, *marks, *explained, *([OTHERS] if others else []), *misprints])
    header = ("Model", *columns, "Data setting", "Seeds", "Source")
    return Table(caption, header, rows, note, convention.meanings)


def _ours(row: Row, columns: Mapping[str, Sequence[str]], best: Mapping[str, str]) -> tuple[str, ...]:
    source = f"ours: preset {row.preset}, values {row.values}"
    figures = (Emphasised(" / ".join(_figure(row, name, best) for name in names)) for names in columns.values())
    return row.label, *figures, row.setting, str(row.scores.seeds), source


def _figure(row: Row, name: str, best: Mapping[str, str]) -> str:
    """`mean ± std`, bold where no other row has a better mean, starred where it differs from the reference row's."""
    shown = number(row.scores, name)
    bold = rounded(name, row.scores.means.get(name)) == best.get(name)
    return (f"**{shown}**" if bold else shown) + ("*" if _differs(row, name) else "")


def _best(rows: Sequence[Row], names: Sequence[str]) -> dict[str, str]:
    """The best mean of each measure as it is shown; of several rows alone."""
    means = {name: [rounded(name, row.scores.means.get(name)) for row in rows] for name in names if len(rows) > 1}
    known = {name: list(filter(None, shown)) for name, shown in means.items()}
    return {name: (min if name == "mae" else max)(shown, key=float) for name, shown in known.items() if shown}


def _differs(row: Row, name: str) -> bool:
    """Whether it is starred: the interval of its difference to the reference row is without 0."""
    if name not in CERTAIN or not (difference := (row.difference or {}).get(name)):
        return False
    _, low, high = difference
    return bool(low > 0 or high < 0)


def _star(reference: str) -> str:
    return (
        f"*: differs from {reference}, the 95 % interval of the difference is without 0 (MAE and Corr; each row by "
        "itself, not corrected for their number)."
    )


def _floor(floor: Floor, columns: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    return floor.label, *(cell(floor.scores or NOTHING, names) for names in columns.values()), "-", "-", "floor"


def _certainty(record: Comparison, caption: str) -> Table:
    """Intervals, and how far each row lies from the reference row."""
    reference = record.reference if len(record.rows) > 1 else None
    against = [f"{word} against {reference}" for word in ("MAE", "Corr")] if reference else []
    rows = [
        (
            row.label,
            *(_interval(name, row.interval.get(name)) for name in CERTAIN),
            *(_difference(name, (row.difference or {}).get(name)) for name in CERTAIN if against),
            cell(Summary(means={"mae": row.valid.mae}, std={"mae": row.valid.std}, seeds=row.scores.seeds), ["mae"]),
            "; ".join(_changes(row.changes)) or "-",
        )
        for row in record.rows
    ]
    seeds = ", ".join(map(str, record.seeds))
    note = f"{BOOTSTRAP} ({seeds}). "
    if reference:
        note += (
            f"Against {reference}: the row less {reference}, paired over seeds and clips (MAE: below 0 is better); an "
            "interval that holds 0 does not tell the two apart. "
        )
    note += "Selection is by the validation split alone. Changes: to the hyper-parameters of preset and values."
    header = ("Row", "MAE, 95 %", "Corr, 95 %", *against, "Validation MAE", "Changes")
    return Table(f"{caption}: how sure the figures are", header, rows, note)


def _interval(name: str, interval: Sequence[float] | None) -> str:
    return f"[{', '.join(rounded(name, bound) for bound in interval)}]" if interval else "-"


def _difference(name: str, difference: Sequence[float] | None) -> str:
    """`mean [low, high]`, each with its sign."""
    if not difference:
        return "-"
    mean, low, high = (signed(name, value) for value in difference)
    return f"{mean} [{low}, {high}]"


def _changes(changes: Mapping[str, JsonValue], above: str = "") -> Iterator[str]:
    """`architecture.ulgm.momentum: false`, one for each changed value."""
    for name, value in changes.items():
        if isinstance(value, Mapping):
            yield from _changes(value, f"{above}{name}.")
        else:
            yield f"{above}{name}: {json.dumps(value)}"


def _contributions(rows: Sequence[Row], caption: str) -> Table:
    modalities = [name for name in MODALITIES if any(name in row.contributions for row in rows)]
    lines = [(row.label, *(text for name in modalities for text in _changed(row, name))) for row in rows if modalities]
    header = ("Row", *(f"{name} {way}" for name in modalities for way in ("masked", "shuffled")))
    return Table(f"{caption}: what each modality adds", header, lines, CONTRIBUTIONS)


def _changed(row: Row, modality: str) -> tuple[str, str]:
    """The change when the modality is masked, and when it is another clip's."""
    if (found := row.contributions.get(modality)) is None:
        return "-", "-"
    masked, shuffled = (
        f"{signed('mae', mean)} ± {rounded('mae', std)}" for mean, std in (found.masked, found.shuffled)
    )
    return masked, shuffled


def _heads(rows: Sequence[Row], caption: str) -> Table:
    told = [row for row in rows if row.heads]
    modalities = [name for name in MODALITIES if any(name in row.heads for row in told)]
    lines = [
        (
            row.label,
            *(
                cell(Summary(means=row.heads.get(name, {})), [measure])
                for name in modalities
                for measure in ("mae", "corr")
            ),
        )
        for row in told
    ]
    header = ("Row", *(f"{name} {word}" for name in modalities for word in ("MAE", "Corr")))
    return Table(f"{caption}: unimodal outputs", header, lines, HEADS)
