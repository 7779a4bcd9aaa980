"""HTTP: the page, uploads, a clip's events and files; and POST /api/predict for other programs. Errors are JSON,
{"error": message}; /openapi.json describes what is for other programs.

Only this server's own page reaches it. A request must call the server by one of its names or by an IP address: another
page can have its own name point at this machine (DNS rebinding), but an address it cannot. And a page of another origin
neither uploads nor deletes.
"""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from typing import Annotated
from urllib.parse import urlsplit

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from plotly.offline import get_plotlyjs
from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.answers import Prediction
from app.serve.clips import Clip, Clips
from app.serve.work import FILM, Asked
from pipeline import tables
from report.page import template

KEPT_NOWHERE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
POLICY = (  # of the page: what it loads is this server's; data: the captions of a film
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data: blob:; media-src 'self' data: blob:; form-action 'none'; frame-ancestors 'none'"
)
LOOK_SECONDS = 0.1  # between two looks at a clip of which events are told
PING_SECONDS = 2.0  # between two signs of life, by which either end notices that the other is gone


FORM = "multipart/form-data"
FORM_BYTES = 2**16  # that a form may have besides its file
BODY = {  # of POST /api/predict
    "requestBody": {
        "required": True,
        "content": {
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary", "description": "The video."}},
                }
            }
        },
    }
}


class Problem(BaseModel):
    """Why there is no answer."""

    error: str


class Server(uvicorn.Server):
    """uvicorn, which waits for every open response before it ends: the streams of events end with the clips."""

    def __init__(self, app: FastAPI, clips: Clips) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="h11",
                ws="none",
                log_level="warning",
                access_log=False,
                proxy_headers=False,
                timeout_graceful_shutdown=3,
            )
        )
        self._clips = clips

    async def shutdown(self, sockets: list[socket] | None = None) -> None:
        await self._clips.close()
        await super().shutdown(sockets)


class Events(StreamingResponse):
    """A clip's events; the clip is kept as long as somebody takes them."""

    media_type = "text/event-stream"

    def __init__(self, clips: Clips, clip: Clip) -> None:
        super().__init__(_events(clips, clip), headers=KEPT_NOWHERE)
        self._clips, self._clip = clips, clip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._clips.listening(self._clip):
            await super().__call__(scope, receive, send)


def application(clips: Clips, facts: dict[str, object], max_upload_mib: int, names: Collection[str]) -> FastAPI:
    """facts: what GET /facts tells; names: what a request may call this server, in lower case, beside any IP address."""

    async def called_by_name(request: Request) -> None:
        name = _name(request.headers.get("host", ""))
        if name not in names and not _is_address(name):
            raise HTTPException(
                400,
                f"This server is not called {name or 'nothing'}. Open it by its IP address, or as {' or '.join(sorted(names))}.",
            )

    app = FastAPI(title="rawmsa", version=version("rawmsa"), openapi_url=None, dependencies=[Depends(called_by_name)])

    @app.exception_handler(AnyHTTPException)
    async def told(_: Request, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    most = max_upload_mib * 2**20
    app.include_router(_page(facts), include_in_schema=False)
    app.include_router(_clips(clips, most), include_in_schema=False)
    app.include_router(_api(clips, most))

    @app.get("/openapi.json", include_in_schema=False)  # FastAPI's own would answer whatever the server is called
    async def described() -> JSONResponse:
        return JSONResponse(app.openapi())

    return app


def _page(facts: dict[str, object]) -> APIRouter:
    """The page, and what it loads before a clip is dropped on it."""
    router = APIRouter()
    shown = template("page.html", Path(__file__).parent).render()

    @router.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(shown, headers={**KEPT_NOWHERE, "Content-Security-Policy": POLICY})

    @router.get("/plotly.js")
    async def charts() -> Response:
        return Response(get_plotlyjs(), media_type="text/javascript")

    @router.get("/facts")
    async def what() -> JSONResponse:
        return JSONResponse(facts)

    return router


def _clips(clips: Clips, most: int) -> APIRouter:
    """Uploads of at most so many bytes, and a clip's events and files."""
    router = APIRouter(prefix="/clips")
    own = [Depends(_own_origin)]

    async def known(id: str) -> Clip:
        if clip := clips.get(id):
            return clip
        raise HTTPException(404, "There is no such clip: nobody looks at it any more. Upload it again.")

    Known = Annotated[Clip, Depends(known)]

    @router.post("", dependencies=own)
    async def upload(request: Request) -> JSONResponse:
        return JSONResponse({"id": (await _uploaded(request, clips, most)).id}, 201)

    @router.delete("/{id}", dependencies=own)
    async def drop(clip: Known) -> JSONResponse:
        clips.drop(clip)
        await asyncio.wait([clip.task])
        return JSONResponse({})

    @router.get("/{id}/events")
    async def events(clip: Known) -> Events:
        return Events(clips, clip)

    @router.get("/{id}/film.mp4")
    async def film(clip: Known) -> FileResponse:
        file = clip.file.with_name(FILM)
        if not file.is_file():
            raise HTTPException(404, "The clip has no film: not yet, or neither sound nor picture.")
        return FileResponse(file, headers=KEPT_NOWHERE)

    @router.get("/{id}/{modality}.parquet")
    async def features(clip: Known, modality: str) -> FileResponse:
        file = clip.file.with_name(f"{modality}.parquet")
        if modality not in tables.MODALITIES or not file.is_file():
            raise HTTPException(404, f"The clip has no {modality} features: not yet, or the run takes none.")
        return FileResponse(file, filename=file.name, headers=KEPT_NOWHERE)

    return router


def _api(clips: Clips, most: int) -> APIRouter:
    """For other programs: curl -F file=@clip.mp4 http://127.0.0.1:7860/api/predict"""
    router = APIRouter(prefix="/api", dependencies=[Depends(_own_origin)])
    codes = {
        400: "The request has no file, or calls the server by a name that is not its own.",
        403: "The request comes from another page.",
        413: "The file is larger than serve.max_upload_mib.",
        422: "The clip cannot be used.",
    }
    problems: dict[int | str, dict[str, object]] = {
        code: {"model": Problem, "description": told} for code, told in codes.items()
    }

    @router.post("/predict", responses=problems, openapi_extra=BODY)
    async def predict(request: Request, windows: bool = False) -> Prediction:
        """The sentiment of a clip: the record of `rawmsa predict --json`.

        `windows=true` adds the course of the clip by windows of time. Clips wait their turn; nothing of a clip is kept after
        its answer.
        """
        clip = await _sent(request, clips, most, windows)
        try:
            with clips.listening(clip):
                while clip.state in ("queued", "working"):
                    if await request.is_disconnected():
                        raise HTTPException(400, "The request was broken off.")
                    await asyncio.sleep(LOOK_SECONDS)
        finally:
            clips.drop(clip)
        if clip.result is None:
            raise HTTPException(422, clip.error)
        return Prediction(**clip.result["record"])  # type: ignore[arg-type]  # as it came from the child

    return router


def _name(host: str) -> str:
    """Of a Host header, in lower case, without its port; empty where it has none."""
    with suppress(ValueError):
        return urlsplit(f"//{host}").hostname or ""
    return ""


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ip_address(host))
    return False


async def _own_origin(request: Request) -> None:
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers["host"]:
        raise HTTPException(403, f"The page of {origin} may not do this: open {request.base_url} itself.")


def _suffix(name: str) -> str:
    """Of a file's name, in letters and digits; empty where it has none."""
    return re.sub(r"[^.A-Za-z0-9]", "", Path(name).suffix)[:10]


async def _uploaded(request: Request, clips: Clips, most: int) -> Clip:
    """The clip of a request's body. Raises HTTPException where it is too large or broken off; then nothing of it is left."""
    name = request.query_params.get("name", "")
    with _folder(clips) as folder:
        file = folder / f"clip{_suffix(name)}"
        with file.open("wb") as opened:
            async for part in _limited(request, most, name):
                opened.write(part)
        return clips.add(Asked(file, name, course=True, page=True))


async def _sent(request: Request, clips: Clips, most: int, windows: bool) -> Clip:
    """The clip of a form's `file`. Raises HTTPException as `_uploaded` does, and where there is no such file."""
    with _folder(clips) as folder:
        body = _limited(request, most + FORM_BYTES, "The request")
        try:
            if not request.headers.get("content-type", "").startswith(FORM):
                raise MultiPartException(f"The body is no {FORM}.")
            form = await MultiPartParser(request.headers, body).parse()
        except (MultiPartException, KeyError) as error:  # KeyError: the type names no boundary
            raise HTTPException(400, f"{error} Send the clip as: curl -F file=@clip.mp4 {request.url}") from None
        async with _closed(form) as found:
            if not isinstance(found, UploadFile):
                raise HTTPException(
                    400, f"The form has no file. Send the clip as: curl -F file=@clip.mp4 {request.url}"
                )
            name = found.filename or ""
            file = folder / f"clip{_suffix(name)}"
            with file.open("wb") as opened:
                await asyncio.to_thread(shutil.copyfileobj, found.file, opened)
        return clips.add(Asked(file, name, course=windows, page=False))


@asynccontextmanager
async def _closed(form: FormData) -> AsyncIterator[object]:
    """What a form has as `file`; afterwards its temporary files are gone."""
    try:
        yield form.get("file")
    finally:
        await form.close()


@contextmanager
def _folder(clips: Clips) -> Iterator[Path]:
    """A new folder for a clip that is on its way; nothing of it is left where that fails."""
    folder = clips.folder()
    try:
        yield folder
    except ClientDisconnect:
        shutil.rmtree(folder)
        raise HTTPException(400, "The upload was broken off.") from None
    except BaseException:
        shutil.rmtree(folder)
        raise


async def _limited(request: Request, most: int, name: str) -> AsyncGenerator[bytes, None]:
    """A request's body up to so many bytes. Whoever sends more is heard out, since a browser that cannot send does not read
    the answer either. Raises HTTPException then, and ClientDisconnect."""
    size = 0
    async for part in request.stream():
        size += len(part)
        if size <= most:
            yield part
    if size > most:
        raise HTTPException(
            413,
            f"{name} has {size / 2**20:.1f} MiB, serve.max_upload_mib of params.yaml allows {most >> 20}. Cut it, or raise the limit.",
        )


async def _events(clips: Clips, clip: Clip) -> AsyncIterator[str]:
    """Server-sent events: one a change, and comments between them."""
    loop = asyncio.get_running_loop()
    told, ping = None, loop.time()
    while not clip.task.done():
        if (now := clips.told(clip)) != told:
            told = now
            yield f"data: {json.dumps(now)}\n\n"
        elif loop.time() >= ping:
            ping = loop.time() + PING_SECONDS
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_SECONDS)
