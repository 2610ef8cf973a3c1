"""Asks a server raw questions over HTTP, without any client library: what tests of the protocol use."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PROMPT = (
    "Generate a descriptive filename based on visual content.\n---\nDescription: VS Code debug button\n"
    "Original name: IMG_1.png\n\nNew file name:"
)
"""A complete prompt of the file-naming skill."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole HTTP reply."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Give the body as text."""
        return self.body.decode()

    def json(self) -> Any:
        """Read the body as one JSON value."""
        return json.loads(self.body)

    def lines(self) -> list[Any]:
        """Read the body as NDJSON."""
        return [json.loads(line) for line in self.text.splitlines() if line]

    def events(self) -> list[Any]:
        """Read the body as server-sent events; the closing mark stays text."""
        data = re.findall(r"^data: (.*)$", self.text, re.MULTILINE)
        return [piece if piece == "[DONE]" else json.loads(piece) for piece in data]


class Caller:
    """Sends raw requests to one server, each on a connection of its own."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        raw: bytes | None = None,
    ) -> Reply:
        """Send one request and read the whole reply."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            data = raw if raw is not None else None if body is None else json.dumps(body).encode()
            connection.request(method, path, data, dict(headers or {}))
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def generate(self, **keys: object) -> Reply:
        """Ask for a text in one piece."""
        return self("POST", "/api/generate", {"model": "qwen2.5-coder:3b", "prompt": PROMPT, "stream": False} | keys)

    def ps(self) -> list[dict[str, Any]]:
        """List what is loaded."""
        models: list[dict[str, Any]] = self("GET", "/api/ps").json()["models"]
        return models
