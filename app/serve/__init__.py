"""rawmsa serve: a page on this machine on which somebody drops a clip and sees its sentiment, the whole and over time.

`work` is what is done with a clip, in a child process, by the functions of `rawmsa predict`; `clips` keeps what was
uploaded, and whose turn it is; `app` is HTTP. Nothing of a clip outlives the page that shows it.
"""

import signal
import socket
import webbrowser
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline import params
from pipeline.errors import RawmsaError
from pipeline.execution.processes import use_threads


class Params(params.Block):
    """params.yaml: serve."""

    window_seconds: PositiveFloat
    hop_seconds: PositiveFloat
    min_corr: Annotated[float, Field(ge=-1, le=1)]
    max_upload_mib: PositiveInt
    max_seconds: PositiveFloat
    grace_seconds: NonNegativeFloat


def main(run: str | None, host: str, port: int, browser: bool) -> None:
    """Serve until a signal ends it. run: as `rawmsa predict` takes it; port: 0 for a free one; browser: open the page.

    Raises RawmsaError where FastAPI is not installed, the run cannot be used, or the address is not to be had.
    """
    if not all(map(find_spec, ("fastapi", "python_multipart", "uvicorn"))):
        raise RawmsaError(
            "rawmsa serve needs FastAPI, python-multipart and uvicorn, which are not all installed. Install them with: "
            'pip install -c constraints.txt -e ".[serve]"'
        )
    from app.serve import work
    from app.serve.app import Server, application
    from app.serve.clips import Clips

    options = params.load("serve", Params)
    job = work.job(run, options)
    use_threads(job.made.threads)
    bound = listen(host, port)
    port = bound.getsockname()[1]
    address = f"http://{_in_url(_here(host))}:{port}"
    clips = Clips(partial(work.work, job), partial(work.warm, job), job.settings.limits, options.grace_seconds)
    server = Server(application(clips, work.facts(job), options.max_upload_mib, names(host)), clips)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # which nohup asks for
        signal.signal(
            signal.SIGHUP, server.handle_exit
        )  # its terminal was closed; SIGINT and SIGTERM are uvicorn's own
    if not _loopback(host):
        print(
            f"serve: WARNING: other machines can connect to {host} and use this page. There is no password and no encryption. "
            f"They open http://{socket.gethostname()}:{port}, or this machine's IP address in place of its name."
        )
    print(f"serve: {work.facts(job)['run']} at {address} (Ctrl-C ends it)", flush=True)
    if browser:
        webbrowser.open(address)
    with suppress(KeyboardInterrupt):
        server.run(sockets=[bound])


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections from now on. Raises RawmsaError."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:  # what is no port is an OverflowError
        raise RawmsaError(
            f"{host}, port {port}, cannot be listened on ({getattr(error, 'strerror', None) or error}). Name a port that is free "
            "(--port 0: any), and an address of this machine (--host 127.0.0.1)."
        ) from None


def names(host: str) -> set[str]:
    """What requests may call a server that listens on `host`, beside an IP address: e.g. {"localhost", "lab", "lab.local"}."""
    here = {"localhost", host.lower()}
    if _loopback(host):
        return here
    machine = socket.gethostname().lower()
    return here | {machine, f"{machine}.local", socket.getfqdn().lower()}


def _here(host: str) -> str:
    """The address of a server on this machine itself: 0.0.0.0 and :: listen on every address, and are none to open."""
    try:
        found = ip_address(host)
    except ValueError:
        return host
    return host if not found.is_unspecified else "127.0.0.1" if found.version == 4 else "::1"


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
