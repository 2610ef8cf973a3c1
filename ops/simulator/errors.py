"""What the simulated server refuses, with the status and text that Ollama gives.

ServerError      every refusal, with its status
└── BadBody      the request is not what Go's decoder accepts (400)
"""

from __future__ import annotations


class ServerError(Exception):
    """The request is refused with a status and a text."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class BadBody(ServerError):
    """The body is not the JSON object that the path expects."""

    def __init__(self, text: str) -> None:
        super().__init__(400, text)
