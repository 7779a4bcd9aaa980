"""report: everything the stages made -> data/report: tables of the results and of the experiments
(md, csv, tex), plots, one self-contained page, and beside it a folder of what plays the clips.

facts reads, tables and plots make, explore tells the page's scripts (web/) what they draw, page decides what is shown.
Nothing here imports a network.
"""

import shutil

from model.measures import results as measured
from pipeline import paths
from report.facts import Dataset
from report.params import Params


def run(options: Params) -> None:
    """The stage: data/report anew, its cards with it. Raises TableError where ingest's or evaluate's files are missing."""
    from report import cards

    cards.write(write(options))


def write(options: Params) -> list[Dataset]:
    """Write data/report anew, save its cards. The same inputs give the same bytes. Returns what was read, for those.

    Raises TableError where ingest's or evaluate's files are missing.
    """
    from report import experiments, explore, facts, films, page, published, tables

    datasets, metrics = facts.read(), measured.read()
    results = tables.results(datasets, metrics)
    titles = {data.name: data.title for data in datasets}
    sections = [page.section(data, titles, options) for data in datasets]
    plots = {plot.file: plot.content for section in sections for plot in section.files}
    made = [(r, page.may_show(data, options)) for data in datasets for r in experiments.ordered(data.experiments)]
    paths.REPORT.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(paths.REPORT / explore.MEDIA, ignore_errors=True)
    shown = {data.name: page.may_show(data, options) for data in datasets}
    clips = [row for data in datasets if shown[data.name] for row in data.clips.values()]
    played = films.made(clips) if options.films else {}
    found = [
        explore.content(data, titles, shown[data.name], shown[data.name] and explore.media(data, played))
        for data in datasets
    ]
    files = (
        plots
        | experiments.files(made)
        | {
            "tables.md": tables.markdown(results).encode(),
            "tables.csv": tables.comma_separated(datasets, metrics).encode(),
            "tables.tex": tables.latex(results).encode(),
            "index.html": page.render(
                [published.beside(table, datasets) for table in results], sections, found
            ).encode(),
        }
    )
    for stale in [*paths.REPORT.glob("*.png"), *paths.REPORT.glob("experiments.*")]:
        stale.unlink()
    for name, content in files.items():
        (paths.REPORT / name).write_bytes(content)
    print(f"report: {len(datasets)} data sets, {len(plots)} plots; open {paths.REPORT / 'index.html'}")
    return datasets
