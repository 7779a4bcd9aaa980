"""HTTP: the page, uploads, a clip's events and files. Errors are JSON, {"error": message}.

Only this server's own page reaches it. A request must call the server by one of its names or by an IP address: another
page can have its own name point at this machine (DNS rebinding), but an address it cannot. And a page of another origin
neither uploads nor deletes.
"""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from socket import socket
from typing import Annotated
from urllib.parse import urlsplit

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from plotly.offline import get_plotlyjs
from starlette.exceptions import HTTPException as AnyHTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.serve.clips import Clip, Clips
from app.serve.work import FILM
from pipeline import tables
from report.page import template

KEPT_NOWHERE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
POLICY = (  # of the page: what it loads is this server's; data: the captions of a film
    "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; "
    "img-src data: blob:; media-src 'self' data: blob:; form-action 'none'; frame-ancestors 'none'"
)
LOOK_SECONDS = 0.1  # between two looks at a clip of which events are told
PING_SECONDS = 2.0  # between two signs of life, by which either end notices that the other is gone


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

    app = FastAPI(openapi_url=None, dependencies=[Depends(called_by_name)])

    @app.exception_handler(AnyHTTPException)
    async def told(_: Request, error: AnyHTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    app.include_router(_page(facts))
    app.include_router(_clips(clips, max_upload_mib * 2**20))
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
    folder = clips.folder()
    try:
        file = folder / f"clip{_suffix(name)}"
        size = await _received(request, file, most)
        if size > most:
            raise HTTPException(
                413,
                f"{name} has {size / 2**20:.1f} MiB, serve.max_upload_mib of params.yaml allows {most >> 20}. Cut it, or raise the limit.",
            )
    except ClientDisconnect:
        shutil.rmtree(folder)
        raise HTTPException(400, "The upload was broken off.") from None
    except BaseException:
        shutil.rmtree(folder)
        raise
    return clips.add(name, file)


async def _received(request: Request, file: Path, most: int) -> int:
    """Write a request's body to a file, but for what comes after so many bytes; how many came. Whoever sends more is heard
    out, since a browser that cannot send does not read the answer either. Raises ClientDisconnect."""
    size = 0
    with file.open("wb") as opened:
        async for part in request.stream():
            size += len(part)
            if size <= most:
                opened.write(part)
    return size


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
