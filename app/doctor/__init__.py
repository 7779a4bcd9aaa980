"""doctor: look for what would stop dvc repro, before it does; each finding a line with what to do about it."""

from rich.console import Console
from rich.text import Text

from app.doctor import installation, project, raw
from app.doctor.finding import Finding
from pipeline.datasets.refusal import printable
from pipeline.errors import RawmsaError

CHECKS = (
    *(installation.python, installation.packages, installation.libraries, installation.opencv, installation.ffmpeg),
    *(installation.models, installation.accelerator, project.parameters, project.encoders, project.dvc),
    *(project.revision, project.disk, raw.entries),
)
MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "fault": ("✗", "red")}


def main() -> None:
    """Print what every check finds. Raises RawmsaError where dvc repro would stop."""
    console = Console(highlight=False)
    faults = 0
    for finding in (finding for check in CHECKS for finding in check()):
        faults += finding.state == "fault"
        _print(console, finding)
    if faults:
        entries = "1 fault" if faults == 1 else f"{faults} faults"
        raise RawmsaError(
            f"{entries} would stop dvc repro, or cost it a modality. Mend each as said above, then start again."
        )


def _print(console: Console, finding: Finding) -> None:
    """A coloured mark on a terminal, a word elsewhere."""
    told = printable(f"{finding.what}. {finding.remedy}" if finding.remedy else finding.what)
    if console.is_terminal:
        mark, colour = MARKS[finding.state]
        console.print(Text.assemble((mark, colour), f" {told}"), soft_wrap=True)
    else:
        print(f"{finding.state:5} {told}")
