"""The clips that somebody looks at. Each is a task of the event loop: it waits for its turn, has the child process work,
and keeps its folder until the page that shows it is gone."""

import asyncio
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from app.serve.work import Asked, step
from pipeline.execution.processes import Processes
from pipeline.params import Limits

Work = Callable[[Asked], dict[str, object]]


@dataclass(eq=False)
class Clip:
    """An uploaded file, which lies in a folder of its own.

    asked: what is done with it; state: queued, working, done, failed; listeners: open streams of its events.
    """

    id: str
    asked: Asked
    state: str = "queued"
    error: str | None = None
    result: dict[str, object] | None = None
    listeners: int = 0
    task: asyncio.Task[None] = field(init=False)
    leaving: asyncio.TimerHandle = field(init=False)

    @property
    def file(self) -> Path:
        return self.asked.file


class Clips:
    """By id, in the order in which they came. All of it belongs to one event loop.

    work: done with a clip in a child process; warm: before the first clip, in the same; both must pickle.
    grace: seconds that a clip to whose events nobody listens is kept.
    """

    def __init__(self, work: Work, warm: Callable[[None], None], limits: Limits, grace: float) -> None:
        self._work, self._warm, self._limits, self._grace = work, warm, limits, grace
        self._clips: dict[str, Clip] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()  # who waits for it is served in order
        self._root = TemporaryDirectory(prefix="rawmsa-serve-", ignore_cleanup_errors=True)
        self._pool = self._child()

    def get(self, id: str) -> Clip | None:
        return self._clips.get(id)

    def folder(self) -> Path:
        """A new one, for a file that is on its way."""
        made = Path(self._root.name) / secrets.token_urlsafe(16)
        made.mkdir()
        return made

    def add(self, asked: Asked) -> Clip:
        """A file in a folder that `folder` made; its folder's name is its id."""
        clip = Clip(asked.file.parent.name, asked)
        clip.leaving = self._leave_soon(clip)
        clip.task = asyncio.create_task(self._live(clip))
        self._clips[clip.id] = clip
        self._tasks.add(clip.task)
        clip.task.add_done_callback(self._tasks.discard)
        return clip

    @contextmanager
    def listening(self, clip: Clip) -> Iterator[None]:
        """Keep a clip meanwhile."""
        clip.listeners += 1
        clip.leaving.cancel()
        try:
            yield
        finally:
            clip.listeners -= 1
            if not clip.listeners:
                clip.leaving = self._leave_soon(clip)

    def told(self, clip: Clip) -> dict[str, object]:
        """An event: where the clip is now. ahead: how many come before it; step: of its work; error: why it failed."""
        before = list(self._clips.values())[: list(self._clips).index(clip.id)] if clip.id in self._clips else []
        return {
            "state": clip.state,
            "ahead": sum(other.state in ("queued", "working") for other in before),
            "step": step(clip.file.parent) if clip.state == "working" else None,
            "error": clip.error,
            "result": clip.result,
        }

    def drop(self, clip: Clip) -> None:
        """Stop its work, free its turn and remove its files; clip.task ends when that is done."""
        if self._clips.pop(clip.id, None):
            clip.task.cancel()

    async def close(self) -> None:
        """Drop every clip, end the child and remove the temporary folder."""
        for clip in list(self._clips.values()):
            self.drop(clip)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._pool.close)
        self._root.cleanup()

    def _leave_soon(self, clip: Clip) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(self._grace, self.drop, clip)

    async def _live(self, clip: Clip) -> None:
        try:
            async with self._turn:
                await self._have_worked(clip)
            await asyncio.Event().wait()  # until it is dropped
        finally:
            shutil.rmtree(clip.file.parent, ignore_errors=True)

    async def _have_worked(self, clip: Clip) -> None:
        clip.state = "working"
        future = self._pool.schedule(self._work, clip.asked)
        try:
            outcome = await asyncio.to_thread(self._pool.outcome, 0, future)
        except asyncio.CancelledError:
            future.cancel()  # ends the thread
            pool, self._pool = self._pool, self._child()
            await asyncio.to_thread(pool.close)  # kills the child, and returns when it is dead
            raise
        if failure := outcome.failure:
            print(failure.trace, end="", file=sys.stderr)
            clip.error = f"{failure.reason}: {failure.message}"
        clip.result = outcome.value
        clip.state = "failed" if failure else "done"

    def _child(self) -> Processes:
        pool = Processes(1, self._limits)
        pool.schedule(self._warm, None)
        return pool
