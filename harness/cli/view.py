"""``harness view``: a run's page in the browser."""

from __future__ import annotations

import re
import sys
import webbrowser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import typer

from harness.cli.app import app
from harness.errors import ConfigError

_PAGE = re.compile(r"/(report(-\d+)?\.html|live\.json)?")
_TYPES = {".html": "text/html; charset=utf-8", ".json": "application/json"}


@app.command(epilog="Examples: harness view · harness view tiny --serve")
def view(
    run: str = typer.Argument("latest", help="A run's folder, latest, or an experiment's name."),
    serve: bool = typer.Option(
        False, "--serve", help="Serve it on this machine's loopback address until Ctrl-C."
    ),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="With --serve; 0: a free one."),
    show: bool = typer.Option(True, "--open/--no-open", help="Open a browser."),
) -> None:
    """Open a run's report.html; it needs nothing but the file, and can be sent to others.

    With --serve, a run that goes on is shown as it goes: what is done, what failed, scores so far.
    """
    from harness.reporting import find_run
    from harness.reporting.runs import find_live

    if serve and (live := find_live(run)):
        _serve(live, port, show)
        return
    folder = find_run(run)
    page = folder / "report.html"
    if not page.is_file():
        raise ConfigError(
            f"{folder}: it has no report.html; `harness report {folder}` writes its reports again"
        )
    if serve:
        _serve(folder, port, show)
        return
    typer.echo(page)
    if show and not webbrowser.open(page.absolute().as_uri()):
        typer.echo("no browser could be started: open the file above", err=True)


def _serve(folder: Path, port: int, show: bool) -> None:
    server = pages_server(folder, port)
    address = f"http://127.0.0.1:{server.server_address[1]}/"
    typer.echo(f"{folder} at {address} (Ctrl-C ends it)")
    sys.stdout.flush()
    if show:
        webbrowser.open(address)
    with server:
        try:
            server.serve_forever(0.2)
        except KeyboardInterrupt:
            typer.echo("ended")


def pages_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of the run's pages and its state while it goes on, and of nothing else, on loopback.

    Requests whose ``Host`` is another name are refused: a web page elsewhere could otherwise read
    the answers by having its own name resolve to this machine.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            own = {f"{name}:{server.server_address[1]}" for name in ("127.0.0.1", "localhost")}
            if self.headers.get("Host") not in own:
                self.send_error(403, "this address is served to this machine only")
                return
            match = _PAGE.fullmatch(self.path)
            found = _content(folder, match[1] or "") if match else None
            if found is None:
                self.send_error(404)
                return
            kind, body = found
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET

        def log_message(self, *_: object) -> None:
            """Keep the terminal for what matters."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise ConfigError(f"--port {port}: cannot be served on: {error.strerror}") from error
    server.daemon_threads = True
    return server


def _content(folder: Path, name: str) -> tuple[str, bytes] | None:
    """A page's type and bytes, None where there is none; without a name, what there is to see."""
    from harness.reporting.html.live import live_page  # late: it takes a quarter of a second
    from harness.reporting.runs import LIVE

    if not name and (folder / LIVE).is_file():
        return _TYPES[".html"], live_page().encode("utf-8")
    path = folder / (name or "report.html")
    if path.is_symlink() or not path.is_file():
        return None
    return _TYPES[path.suffix], path.read_bytes()


__all__ = ["pages_server", "view"]
