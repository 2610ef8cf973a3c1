"""`judge check`: the measurement that waits is the one that is asked for."""

from __future__ import annotations

from typing import Any

from workers.home import Home


def test_a_check_that_waits_is_not_queued_again(evoctl: Any, host: Home) -> None:
    """329 calls are paid once, however often they are ordered; a judge that was changed meanwhile is another check."""
    first = evoctl("--json", "judge", "check", "--no-wait").data["run"]
    again = evoctl("--json", "judge", "check", "--no-wait").data["run"]
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(text.replace("\n  search:\n", "\n  judging: {pass_mark: 61}\n  search:\n", 1), "utf-8")
    other = evoctl("--json", "judge", "check", "--no-wait").data["run"]

    assert again == first
    assert other != first
