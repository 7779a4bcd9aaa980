"""rawmsa experiment: ask for a table or figure of the paper in params.yaml, have DVC make it, print it."""

import io

from app.reproduce import reproduce
from model import experiment, settings
from pipeline import paths
from pipeline.errors import StageError


def run(name: str, dataset: str) -> None:
    """Ask for an experiment in params.yaml, let DVC make what is due as far as the report, print its tables."""
    from report.experiments import text

    _check(dataset)
    if _asked(name, dataset):
        print(f"experiment: params.yaml asks for {dataset}/{name} already")
    else:
        print(f"experiment: added {name} to experiment.datasets.{dataset} in params.yaml")
    _reproduce()
    if not paths.experiment(dataset, name).is_file():
        raise StageError(
            f"{dataset}/{name} was not made: {experiment.unable(name, dataset)}. params.yaml still asks for it, under "
            "experiment.datasets; remedy this, or take it out there."
        )
    print(text(dataset, name))


def _check(dataset: str) -> None:
    """Raise StageError unless there is such a data set, or videos to make it of."""
    if (paths.RAW / dataset).is_dir() or paths.table(dataset).is_dir():
        return
    there = sorted(folder.name for folder in paths.RAW.glob("*") if folder.is_dir())
    raise StageError(f"There is no data set {dataset}: data/raw holds {', '.join(there) or 'none'}. Name one of these.")


def _asked(name: str, dataset: str) -> bool:
    """Whether params.yaml asks for the experiment already; it does afterwards, its comments and layout as they were."""
    if name in settings.experiment().datasets.get(dataset, []):
        return True
    from ruamel.yaml import YAML
    from ruamel.yaml.comments import CommentedSeq

    yaml = YAML()  # as `dvc exp run -S` writes it: a file in this style changes by the lines that differ alone
    content = yaml.load(paths.PARAMS)
    datasets = content["experiment"]["datasets"]
    if not datasets:
        datasets.fa.set_flow_style()  # {demo: [table4]}, on one line
    names = datasets.setdefault(dataset, CommentedSeq())
    if not names:
        names.fa.set_flow_style()
    names.append(name)
    written = io.StringIO()
    yaml.dump(content, written)
    part = paths.PARAMS.with_suffix(".part")
    part.write_text(written.getvalue())
    part.replace(paths.PARAMS)
    return False


def _reproduce() -> None:
    if code := reproduce("report"):
        raise StageError(
            f"dvc repro report ended with code {code}; what it printed above says why. params.yaml asks for "
            "the experiment: run the same command again to go on, what was computed is kept."
        )
