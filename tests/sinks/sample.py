"""The sample of docs/sinks.md, and an HTTP server that takes what it posts."""

from __future__ import annotations

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "sinks.md").read_text(encoding="utf-8")


def sample() -> str:
    """The source of the sample."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert isinstance(code, str)
    return code


class Endpoint(ThreadingHTTPServer):
    """Takes what is posted.

    Attributes:
        lines: Of all requests that were answered 200.
        headers: Of the last request.
        answer: What it answers; below 100 it answers nonsense.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lines: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.answer = 200
        self.url = f"http://127.0.0.1:{self.server_address[1]}/in"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Endpoint

    def do_POST(self) -> None:
        self.server.headers = dict(self.headers)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.answer < 100:
            self.wfile.write(b"what?\r\n\r\n")
            return
        if self.server.answer == 200:
            self.server.lines += body.splitlines()
        self.send_response(self.server.answer)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass
