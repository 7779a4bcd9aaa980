"""Names, transcripts and paths show as they are wherever they are rendered: nothing in them is markup, a formula or code."""

import base64
import io
import os
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from PIL import Image
from typer.testing import CliRunner

from pipeline import paths
from pipeline.tables import Word
from report import clip as picture
from report import plots, tables
from report.examples import thumbnail
from stages.__main__ import app
from tests import projects, test_media, test_show

ROOT = Path(__file__).parents[1]
HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;", "$x_{", "$x^2$", "a\"b'c", "|", "a\\|b", "{{7*7}}",
    "two\nlines", "[red]loud[/red]", "[a](javascript:alert(1))", "![a](http://127.0.0.1/a.png)", "[0, 1]", "*", "**bold**",
    "\\input{/etc/passwd}", "%03d", "$(touch hit);&", "~^#_", "javascript:alert(1)", "x" * 240,
]  # fmt: skip
ESCAPE = "\x1b[31mred"


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "400")
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


class Page(HTMLParser):
    """The tags of a page, its attributes' names and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.texts: set[str] = set()
        self.scripts = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.scripts += tag == "script"
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data: str) -> None:
        self.texts.add(data)


def hostile_clips() -> list[dict[str, object]]:
    """A clip a string, which is its video, its transcript and a flag."""
    usual = projects.clips("demo")
    return [
        usual[index % len(usual)]
        | {"id": f"{text}/1", "video_id": text, "spoken": text, "flags": [f"recognition failed: {text}"]}
        for index, text in enumerate(HOSTILE)
    ]


def hostile_project(**settings: object) -> None:
    """Every kind of place where the page shows a name or a text."""
    rows = hostile_clips()
    ids = [str(row["id"]) for row in rows]
    told = {"shared_videos": HOSTILE, "shared_texts": HOSTILE, "duplicates": [ids], "redistribute": True}
    refused = [
        {
            "dataset": "demo",
            "file": f"data/raw/demo/{text}.mp4",
            "row": None,
            "id": text,
            "reason": text,
            "message": text,
        }
        for text in HOSTILE
    ]
    projects.ingest(({"name": "demo", **told, **settings}, rows), refused=refused)
    trained = [{"epoch": 1, "id": id, "text": 0.5, "audio": None, "vision": None} for id in ids]
    projects.train("demo", 1111, 0.8, trained)
    projects.predict([row | {"split": None} for row in rows], trained_on="demo")


def test_the_page_shows_hostile_names_and_transcripts_as_text() -> None:
    projects.ingest(({"name": "demo"}, projects.clips("demo")))
    usual = Page(projects.write())
    hostile_project()
    page = Page(projects.write(max_rows=1000, examples=len(HOSTILE)))
    assert (
        page.tags - {"table", "td", "tr", "b", "br", "p", "thead", "tbody", "th", "h3", "div", "figure"} <= usual.tags
    )
    assert (page.scripts, "input" in page.tags) == (usual.scripts, True)  # those of the page itself
    assert page.attributes <= {*usual.attributes, "class", "scope", "data-sortable"}
    shown = {text.strip() for text in page.texts}
    for text in HOSTILE:
        assert {text, f"{text}/1", f"data/raw/demo/{text}.mp4", f"clip: recognition failed: {text}"} <= shown, text


@pytest.mark.parametrize("text", [*HOSTILE, ESCAPE])
def test_markdown_has_the_cell_as_text(text: str) -> None:
    table = tables.Table("Caption", ("Clip", "Value"), [(text, "1"), ("last", text)])
    written = tables.markdown([table])
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(written)
    cells = [tokens[index + 1] for index, token in enumerate(tokens) if token.type == "td_open"]
    parts = {child.type for cell in cells for child in cell.children or []}
    assert len(cells) == 4 and not parts & {"html_inline", "link_open", "image"}
    if text not in ("**bold**", "&lt;b&gt;"):  # emphasis and entities do no harm
        expected = " ".join(text.split()).replace("\x1b", "\\x1b")
        assert "".join(child.content for child in cells[0].children or []) == expected


@pytest.mark.parametrize("text", [*HOSTILE, ESCAPE])
def test_latex_has_the_cell_as_text(text: str) -> None:
    table = tables.Table(text, ("Clip", "Value"), [("first", "1"), (text, text)])
    lines = tables.latex([table]).splitlines()
    row = lines[lines.index(r"\bottomrule") - 1]
    caption = next(line for line in lines if line.startswith(r"\caption{"))
    cells = row.removesuffix(r" \\").removeprefix("{}").split(" & ")
    assert len(cells) == 2 and not row.startswith(("[", "*"))
    for written in (*cells, caption.removeprefix(r"\caption{").removesuffix(". }")):
        assert not re.search(r"[\\{}$&#^_~%|<>\x00-\x1f]", re.sub(r"\\[&%$#_{}]|\\text[a-z]+\{\}", "", written)), (
            written
        )


@pytest.mark.slow
def test_a_dollar_in_a_transcript_or_an_id_is_drawn_as_one() -> None:
    words = [Word(text, index / 10, index / 10 + 0.1) for index, text in enumerate(HOSTILE)]
    for timed in (words, [Word(word.word) for word in words]):
        for name in ("demo/$x_{/1", "demo/$x^2$/1", f"demo/{'x' * 240}/1"):
            found = test_show.tracks(name=name, words=timed, notes=["no vision: $\\frac{"])
            texts: list[object] = []

            def draw(figure: object, found: object = found, texts: list[object] = texts) -> None:
                picture.draw(figure, tracks=found)
                texts += figure.findobj(lambda artist: hasattr(artist, "get_parse_math") and artist.get_text())

            assert plots.png(draw, *picture.size(found)).startswith(b"\x89PNG")
            assert texts and not any(text.get_parse_math() for text in texts)


def shown(text: str) -> str:
    """The output of `rawmsa show` for a clip whose id and transcript are that text."""
    words = [{"word": text, "start": 0.1, "end": 0.4}]
    row = projects.clips("demo")[0] | {"id": f"{text}/1", "video_id": text, "words": words}
    projects.ingest(({"name": "demo"}, [row]))
    face = {f"{text}/1": test_show.mouth()}
    projects.features("demo", "vision", [column.name for column in test_show.LIPS], face)
    done = CliRunner().invoke(app, ["show", f"demo/{text}/1"])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    "text", ["<script>alert(1)</script>", "$x_{", "[red]loud[/red]", "a\"b'c", "../../up", "y" * 240]
)
def test_show_prints_a_hostile_clip_and_names_its_picture_plainly(text: str) -> None:
    out = shown(text)
    assert text in out.replace("\n", "")
    (file,) = paths.SHOW.iterdir()
    assert re.fullmatch(r"demo-[\w.-]+\.png", file.name) and file.parent.resolve() == paths.SHOW.resolve()


def test_pictures_of_long_names_that_begin_alike_are_two() -> None:
    for end in "ab":
        shown("漢" * 120 + end)
    names = sorted(file.name for file in paths.SHOW.iterdir())
    assert len(names) == 2 and all(len(os.fsencode(name)) < 255 for name in names)


def test_a_transcript_cannot_act_on_the_terminal() -> None:
    assert "\x1b" not in shown(ESCAPE) and "\\x1b[31mred" in shown(ESCAPE)


def test_the_caches_folder_is_no_markup(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAWMSA_CACHE", "[red]cache[/red]")
    assert "[red]cache[/red]" in CliRunner().invoke(app, ["cache"]).output


def test_a_thumbnail_is_made_anew_and_carries_nothing_of_the_file() -> None:
    video = test_show.make(Path("data/raw/v.mp4"), seconds=0.4, size=(64, 48))
    told = Path("data/raw/told.mp4")
    test_media.ffmpeg("-i", video, "-c", "copy", "-metadata", "comment=CARRIED", "-metadata", "title=CARRIED", told)
    assert b"CARRIED" in told.read_bytes()
    found = thumbnail({"has_vision": True, "path": str(told), "seconds": 0.4, "start": None, "end": None})
    kind, _, content = (found or "").partition(",")
    raw = base64.b64decode(content)
    with Image.open(io.BytesIO(raw)) as image:
        assert kind == "data:image/jpeg;base64" and image.format == "JPEG" and image.size == (160, 120)
        assert not image.getexif() and "comment" not in image.info
    assert b"CARRIED" not in raw
