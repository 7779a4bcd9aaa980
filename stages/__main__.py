"""The command line: `rawmsa <stage or command>` and `python -m stages <stage or command>` are the same."""

import ast
import errno
import importlib
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

try:
    import typer
except ImportError:
    sys.exit(
        f"rawmsa is not installed for {sys.executable}. Activate its environment: . .venv/bin/activate (make install makes it)"
    )

from pipeline import conventions, params, paths
from pipeline.errors import RawmsaError
from pipeline.execution import locks
from pipeline.execution.cache import UNWRITABLE, Part
from pipeline.execution.locks import cache_lock
from pipeline.execution.platform import die_with_dvc
from pipeline.execution.processes import use_threads

STAGES = ("ingest", "transcribe", "text", "audio", "vision", "assemble", "train", "evaluate", "experiment", "report")
PARTS = ("ingest", "transcribe", "audio", "vision")  # stages that work clip by clip

app = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"rawmsa {version('rawmsa')}")
        raise typer.Exit


@app.callback()
def options(
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    """From raw video to sentiment tables. Drop videos into data/raw/<dataset>/, then: dvc repro"""


@app.command(rich_help_panel="Commands")
def demo(
    clips: Annotated[int, typer.Option(help="How many clips of 2-4 s to make.", min=6)] = 60,
    seed: Annotated[int, typer.Option(help="Same seed, same files.")] = 1111,
) -> None:
    """Make the synthetic demo data set in data/raw/demo: talking faces of known sentiment, with no network."""
    from pipeline import demo as demo_set

    demo_set.make(paths.RAW / "demo", clips, seed, params.workers())


RUN = (
    "<dataset>/<network>, <dataset>/<network>-<seed>, or a folder of rawmsa publish; default: the project's own run, else the "
    "demo's (evaluate.unlabelled_run)."
)


@app.command(rich_help_panel="Commands")
def predict(
    clips: Annotated[list[Path], typer.Argument(help="Videos of somebody speaking, or folders of them.")],
    run: Annotated[str, typer.Option(help=RUN)] = "",
    transcript: Annotated[
        Path | None,
        typer.Option(help="The words of the clip (.srt, .vtt, .txt); default: the one beside it, else recognised."),
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows", help="Also the course of each clip, by windows of time.")
    ] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the rows into this CSV too.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, not a table.")] = False,
) -> None:
    """Predict the sentiment of any clip with a trained run: number, polarity in words, unimodal outputs, transcript, flags.

    It works in any folder: in a project with its runs, elsewhere with --run FOLDER, which rawmsa publish makes.
    Where a clip fails, the others are printed, and the exit code is 1.
    """
    from app import answers, predictor

    answers.show(predictor.main(clips, run or None, transcript, windows), json, csv)


@app.command(rich_help_panel="Commands")
def serve(
    run: Annotated[str, typer.Option(help=RUN)] = "",
    host: Annotated[
        str, typer.Option(help="Another than a loopback address lets others in: nobody is asked for a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.")] = 7860,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = False,
) -> None:
    """Serve a page on this machine on which a clip is dropped, or recorded, and its sentiment shown, over time too.

    Clips stay on this machine, and are removed when their page is closed. Other programs may ask too: curl -F
    file=@clip.mp4 http://127.0.0.1:7860/api/predict (described in /openapi.json). Ctrl-C ends it.
    """
    from app import serve as door

    door.main(run or None, host, port, browser)


@app.command(rich_help_panel="Commands")
def publish(
    run: Annotated[
        str, typer.Argument(help="<dataset>/<network> (its best kept seed), or <dataset>/<network>-<seed>.")
    ],
    to: Annotated[Path, typer.Option(help="The folder to make.")],
) -> None:
    """Write a run as a folder for a model hub: weights (safetensors), configuration, and a model card with its numbers.

    No face, voice, transcript or clip's name goes with it. Take it back with: rawmsa predict CLIP --run FOLDER
    """
    from app import publish as door

    door.main(run, to)


@app.command(rich_help_panel="Commands")
def show(
    clip: Annotated[str, typer.Argument(help="Its id, video_id/clip_id, or <dataset>/<id> where several share it.")],
    out: Annotated[Path | None, typer.Option(help="The PNG; default: data/show/<dataset>-<id>.png.")] = None,
    screen: Annotated[bool, typer.Option(help="Open a window too.")] = False,
) -> None:
    """Show a clip: words, sound, pitch, glottal closures, envelope, voice quality and mouth on one time axis."""
    from app import show as door

    door.main(clip, out, screen)


@app.command(rich_help_panel="Commands")
def data(name: Annotated[str, typer.Argument(help="A folder of data/raw.")]) -> None:
    """Show what a data set is, as ingest read it: clips, splits, labels, flags, and every file and row that is not used."""
    from app import data as door

    door.main(name)


@app.command("import", rich_help_panel="Commands")
def import_file(
    file: Annotated[Path, typer.Argument(help="A .pkl of features and labels as MMSA reads it, aligned or unaligned.")],
    dataset: Annotated[str, typer.Option(help="Name of the data set to make: mosi, mosei, sims, simsv2, or your own.")],
    convention: Annotated[
        str | None,
        typer.Option(help=f"Whose metrics: {', '.join(conventions.names())}; default: the name tells."),
    ] = None,
    language: Annotated[Literal["en", "zh"] | None, typer.Option(help="Default: zh for sims, else en.")] = None,
    label_range: Annotated[
        tuple[float, float] | None, typer.Option(help="Lowest and highest label; default: the convention's.")
    ] = None,
    neutral: Annotated[
        float | None, typer.Option(help="The label that is neither negative nor positive; default: the convention's.")
    ] = None,
) -> None:
    """Make a data set without videos of the field's published features: data/raw/<dataset>, then dvc repro trains on it.

    The file is read clip by clip in little memory, and nothing that it names is run.
    """
    from pipeline.mmsa import importing

    told = {"convention": convention, "language": language, "label_range": label_range, "neutral": neutral}
    importing.run(file, dataset, {key: value for key, value in told.items() if value is not None})


@app.command(rich_help_panel="Commands")
def export(
    dataset: Annotated[str, typer.Option(help="A data set of data/tables that has labels.")],
    format: Annotated[Literal["mmsa"], typer.Option(help="mmsa: the .pkl that MMSA and its kin read.")] = "mmsa",
    out: Annotated[Path | None, typer.Option(help="The file; default: data/export/<dataset>.pkl.")] = None,
) -> None:
    """Write a data set's training table as the peers read it."""
    from pipeline.mmsa import exporting

    exporting.run(dataset, out)


@app.command(rich_help_panel="Commands")
def experiment(
    name: Annotated[
        Literal["table1", "table3", "table4", "ulgm", "figure4", "figure5"] | None,
        typer.Argument(help="Numbered as in the paper."),
    ] = None,
    dataset: Annotated[str, typer.Option(help="A data set with labels, e.g. demo.")] = "",
) -> None:
    r"""Make a table or figure of the paper on a data set, and print it.

    rawmsa experiment table4 --dataset demo

    table1: baselines and Self-MM, floors and published figures;
    table3: TFN, LMF, human labels (label_T, label_A, label_V) in the u-labels' place;
    table4: the eight sets of unimodal tasks;
    ulgm: momentum, weights, equations (6) and (7) and more, one at a time;
    figure4: how the u-labels spread, by epoch; figure5: three clips.

    The name is added to experiment.datasets in params.yaml, where a later
    dvc repro finds it, and dvc repro report makes what is due. A grid that
    was stopped goes on where it was. As an experiment of DVC:
    dvc exp run -S '++experiment.datasets.demo=\[table4]'

    Without a NAME this is the stage: it makes all that params.yaml asks for.
    """
    if name is None:
        return _stage("experiment")()
    if not dataset:
        raise typer.BadParameter(f"expected a data set, e.g. rawmsa experiment {name} --dataset demo")
    from app import experiment as door

    return door.run(name, dataset)


@app.command(rich_help_panel="Commands")
def runs(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Two to compare: <dataset>/<network>-<seed>, or the first digits of a key."),
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Only its runs.")] = None,
    network: Annotated[str | None, typer.Option(help="Only its runs.")] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Those of the cache too: of experiments, draws of tune, past parameters.")
    ] = False,
    experiments: Annotated[
        bool,
        typer.Option("--experiments", help="DVC's experiments: what each changed, validation and test MAE, time."),
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON, whole and unrounded, not a table.")] = False,
    csv: Annotated[Path | None, typer.Option(help="Write the list to this CSV file instead.")] = None,
) -> None:
    """List the runs with their parameters, MAE and when they were trained; or compare two: rawmsa runs A B."""
    from app import experiments as experiments_door
    from app import runs as door

    if names:
        door.comparison(names, json)
    elif experiments:
        experiments_door.listing(json, csv)
    else:
        door.listing(every, dataset, network, json, csv)


@app.command(rich_help_panel="Commands")
def tune(
    dataset: Annotated[str, typer.Option(help="A data set of data/tables that has labels.")],
    network: Annotated[str | None, typer.Option(help="One of train.networks; default: the only one.")] = None,
    draws: Annotated[int | None, typer.Option(help="How many; default: tune.draws of params.yaml.", min=1)] = None,
) -> None:
    """Look for better values, scored on the validation split alone; stopped, it goes on where it was.

    The ranges are tune.space of params.yaml. Every draw goes to data/tune/<dataset>-<network>.csv, the best as a block
    for networks/<network>.yaml to the .yaml beside it, the search as an Optuna study to the .log.
    """
    from app import tune as door

    use_threads(params.threads())
    with locks.lock("tune"):
        door.main(dataset, network, draws)


@app.command(rich_help_panel="Commands")
def results(
    csv: Annotated[
        Path | None, typer.Option(help="Write the clips without labels and their sentiment into this CSV.")
    ] = None,
) -> None:
    """Print the results table, the sentiment of clips without labels, and where the report lies."""
    from app import results as door

    params.read()  # says so outside a project
    door.main(csv)


@app.command(rich_help_panel="Commands")
def doctor() -> None:
    """Look for what would stop dvc repro: packages, model files, DVC, git, room, broken links and odd names in data/raw."""
    from app import doctor as door

    params.read()  # says so outside a project
    door.main()


@app.command("retry-failed", rich_help_panel="Commands")
def retry_failed() -> None:
    """Try the clips again that failed (out of time or memory, crashed), then run what is due: dvc repro."""
    from app import retry

    params.read()  # says so outside a project
    retry.main()


@app.command(rich_help_panel="Commands")
def cache(prune: Annotated[bool, typer.Option(help="Remove what no parameter set uses.")] = False) -> None:
    """Show what the clip and run cache holds, by parameter set; --prune removes what none uses."""
    from app import cache as door

    door.main(prune)


def _check() -> None:
    """All parameters, those of later stages too, so that a mistake in them costs no work of this one."""
    from app import check

    check.everything()


def _stage(name: str) -> Callable[..., None]:
    def command() -> None:
        use_threads(params.threads())
        if "DVC_STAGE" in os.environ:  # a killed dvc must not leave its stage running
            die_with_dvc()
        with locks.lock(name):
            _check()
            importlib.import_module(f"stages.{name}").main()

    def part(
        shard: Annotated[
            str,
            typer.Option(
                metavar="I/N",
                help="Compute part I of N into the cache and write nothing else: for job arrays, any number at once; then dvc repro.",
            ),
        ] = "",
    ) -> None:
        if not shard:
            return command()
        use_threads(params.threads())
        with cache_lock(alone=False):
            _check()
            return importlib.import_module(f"stages.{name}").main(Part.parse(shard))

    source = (Path(__file__).parent / f"{name}.py").read_text()
    command.__doc__ = (ast.get_docstring(ast.parse(source)) or "").split(": ", 1)[-1]  # no stage is imported for --help
    part.__doc__ = command.__doc__
    return part if name in PARTS else command


for _name in (name for name in STAGES if name != "experiment"):  # which is a command too, above
    app.command(_name, rich_help_panel="Stages (dvc repro runs those that are due)")(_stage(_name))


def main() -> None:
    try:
        app()
    except RawmsaError as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except OSError as error:
        if error.errno not in (*UNWRITABLE, errno.EACCES):
            raise
        sys.exit(
            f"OSError: {error.filename or paths.DATA} cannot be used: {error.strerror or error}. Free space, or allow "
            "reading and writing; then run the same command again. What was computed is kept."
        )


if __name__ == "__main__":
    main()
