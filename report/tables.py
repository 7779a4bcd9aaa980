"""The main table in the paper's form, as Markdown, CSV and LaTeX. Numbers are rounded here and nowhere before."""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from model.measures.results import Results, Summary
from pipeline import conventions
from pipeline.datasets.refusal import printable
from pipeline.tables import as_text
from report.facts import Dataset

FLOOR = "train_median"
PLAIN = (conventions.MAE.key, conventions.CORR.key)  # three digits; the others are shares, shown in percent with two
UNDEFINED = "-: not defined, as the correlation of a constant is, or an accuracy where all labels are of one class."
MEAN = "Mean ± standard deviation over seeds on the test split; Acc and F1 in percent."
PAPER_NAMES = {FLOOR: "Train median (floor)", "self_mm": "Self-MM", "mult": "MulT"}
NOTHING = "No data set has results: nothing was trained."
BOLD = re.compile(r"\*\*([^*]+)\*\*")
MARKDOWN = re.compile(r"[\\|<]|(?<=\])\(")  # what would end a cell, begin HTML or be a link
LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", "±": r"$\pm$",
}  # fmt: skip


class Emphasised(str):
    """A cell in which what stands between ** is bold; a single * is one."""


@dataclass(frozen=True)
class Table:
    """Cells as they are read (plain, or Emphasised); `note` says what a reader must know below it.

    meanings: what the numbers of a column mean, by its head; shown on the page.
    """

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    note: str = ""
    meanings: Mapping[str, str] = field(default_factory=dict)


def model_name(network: str) -> str:
    """The paper's name of a network: self_mm is Self-MM, mag_bert is MAG-BERT."""
    return PAPER_NAMES.get(network, network.replace("_", "-").upper())


def results(datasets: Sequence[Dataset], metrics: Results) -> list[Table]:
    """One table for each metric convention that has results."""
    found = {
        convention: [data for data in datasets if data.settings["convention"] == convention and data.name in metrics]
        for convention in conventions.names()
    }
    titles = {data.name: data.title for data in datasets}
    return [_results(convention, members, metrics, titles) for convention, members in found.items() if members]


def _results(name: str, datasets: Sequence[Dataset], metrics: Results, titles: Mapping[str, str]) -> Table:
    convention = conventions.find(name)
    columns = convention.columns
    rows = [
        (data.title, _model(network, titles), *(cell(scores, names) for names in columns.values()), _seeds(scores))
        for data in datasets
        for network, scores in _ordered(metrics[data.name])
    ]
    undefined = [UNDEFINED] * any("-" in found.split(" / ") for row in rows for found in row[2:-1])
    return Table(
        caption="Results on " + ", ".join(data.title for data in datasets),
        header=("Data set", "Model", *columns, "Seeds"),
        rows=rows,
        note=" ".join([convention.note, MEAN, *undefined, *_crossings(datasets, metrics, titles), *_too_few(datasets)]),
        meanings=convention.meanings,
    )


def _model(key: str, titles: Mapping[str, str]) -> str:
    """A key of metrics.json as it is read: "self_mm from demo" was trained on another data set."""
    network, _, trained_on = key.partition(" from ")
    return model_name(network) + (f", trained on {titles.get(trained_on, trained_on)}" if trained_on else "")


def _crossings(datasets: Sequence[Dataset], metrics: Results, titles: Mapping[str, str]) -> Iterator[str]:
    """What a reader must know of the rows of networks that were trained on another data set."""
    for data in datasets:
        for network, scores in _ordered(metrics[data.name]):
            said = []
            if scores.mapped:
                (low, high), (to_low, to_high) = scores.mapped
                said.append(f"predictions mapped from [{low:g}, {high:g}] to [{to_low:g}, {to_high:g}], 0 to 0")
            if scores.split == "all":
                said.append("all labelled clips, there being no test split")
            if said:
                yield f"{_model(network, titles)}, on {data.title}: {'; '.join(said)}."


def _too_few(datasets: Sequence[Dataset]) -> Iterator[str]:
    for data in datasets:
        if data.too_few:
            yield data.too_few


def _ordered(networks: Mapping[str, Summary]) -> Iterator[tuple[str, Summary]]:
    """The floor first, then the networks by name."""
    yield from sorted(networks.items(), key=lambda item: (item[0] != FLOOR, item[0]))


def _seeds(scores: Summary) -> str:
    return "-" if scores.seeds is None else str(scores.seeds)


def cell(scores: Summary, names: Sequence[str]) -> str:
    """`mean ± std`, two forms of one metric as `x / y`; "-" for what is not defined, no ± for a single seed."""
    return " / ".join(number(scores, name) for name in names)


def number(scores: Summary, name: str) -> str:
    mean = rounded(name, scores.means.get(name))
    spread = rounded(name, scores.std.get(name)) if scores.seeds and scores.seeds > 1 else ""
    return f"{mean} ± {spread}" if mean and spread else mean or "-"


def rounded(name: str, value: float | None) -> str:
    """Three digits for MAE and Corr, percent with two for the rest; empty for None."""
    if value is None:
        return ""
    return f"{value:z.3f}" if name in PLAIN else f"{100 * value:z.2f}"


def signed(name: str, value: float | None) -> str:
    """The same with its sign: a difference."""
    shown = rounded(name, value)
    return shown if not shown or shown.startswith("-") else f"+{shown}"


def markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, padded so that they read in a terminal as well."""
    return "\n".join(_markdown(table) for table in tables) or f"{NOTHING}\n"


def _markdown(table: Table) -> str:
    lines = [[MARKDOWN.sub(r"\\\g<0>", _line(text)) for text in line] for line in (table.header, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    padded = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"**{table.caption}**", "", padded[0], rule, *padded[1:], "", table.note, ""])


def _line(text: str) -> str:
    """A cell on one line, whatever a name or a transcript holds."""
    return printable(" ".join(text.split()))


def comma_separated(datasets: Sequence[Dataset], metrics: Results) -> str:
    """One row a data set and model; a column a metric and one its deviation, empty where it is not defined."""
    columns = [conventions.find(name).columns for name in conventions.names()]
    names = list(dict.fromkeys(key for of_one in columns for keys in of_one.values() for key in keys))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "note", "model", "seeds", *(f"{name}{end}" for name in names for end in ("", "_std"))])
    for data in datasets:
        for network, scores in _ordered(metrics.get(data.name, {})):
            numbers = [rounded(name, part.get(name)) for name in names for part in (scores.means, scores.std)]
            note = "; ".join(["synthetic demo"] * data.synthetic + ["too few clips"] * bool(data.too_few))
            writer.writerow(
                map(as_text, [data.name, note, network, "" if scores.seeds is None else str(scores.seeds), *numbers])
            )
    return out.getvalue()


def latex(tables: Sequence[Table]) -> str:
    r"""Tables for \usepackage{booktabs}."""
    return "\n".join(map(_latex, tables)) or f"% {NOTHING}\n"


def _latex(table: Table) -> str:
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_tex(table.caption)}. {_tex(table.note)}}}",
            rf"\begin{{tabular}}{{ll{'c' * (len(table.header) - 2)}}}",
            r"\toprule",
            _tex_row(table.header),
            r"\midrule",
            *map(_tex_row, table.rows),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _tex_row(cells: Sequence[str]) -> str:
    row = " & ".join(map(_tex, cells)) + r" \\"
    return f"{{}}{row}" if row.startswith(("[", "*")) else row  # no argument of the line break before it


def _tex(text: str) -> str:
    escaped = re.sub(r"[\\&%$#_{}~^<>|±]", lambda found: LATEX[found[0]], _line(text))
    return BOLD.sub(r"\\textbf{\1}", escaped) if isinstance(text, Emphasised) else escaped
