"""report: everything the stages made -> data/report: the main table (md, csv, tex), plots, one self-contained page.

facts reads, tables and plots make, page decides what is shown. Nothing here imports a network.
"""

from pydantic import PositiveInt

from pipeline import paths
from pipeline.params import Block
from pipeline.tables import read_json


class Params(Block):
    """The `report` block of params.yaml."""

    show_all: bool  # pictures and transcripts also of data sets that do not say redistribute
    thumbnails: bool
    max_rows: PositiveInt  # of a long table on the page
    examples: PositiveInt  # clips shown whose u-labels part most from the m-label


def write(options: Params) -> None:
    """Write data/report anew. The same inputs give the same bytes.

    Raises TableError where ingest's or evaluate's files are missing.
    """
    from pipeline.report import facts, page, tables

    datasets, metrics = facts.read(), read_json(paths.METRICS)
    results = tables.results(datasets, metrics)
    titles = {data.name: data.title for data in datasets}
    sections = [page.section(data, titles, options) for data in datasets]
    files = {plot.file: plot.content for section in sections for plot in section.all_plots} | {
        "tables.md": tables.markdown(results).encode(),
        "tables.csv": tables.comma_separated(datasets, metrics).encode(),
        "tables.tex": tables.latex(results).encode(),
        "index.html": page.render(results, sections).encode(),
    }
    paths.REPORT.mkdir(parents=True, exist_ok=True)
    for stale in paths.REPORT.glob("*.png"):
        stale.unlink()
    for name, content in files.items():
        (paths.REPORT / name).write_bytes(content)
    print(f"report: {len(datasets)} data sets, {len(files) - 4} plots; open {paths.REPORT / 'index.html'}")
