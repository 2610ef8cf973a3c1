"""docs/settings.md is made from the settings themselves; `python tests/test_settings_doc.py` writes it anew."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from pipeline.setting import About
from pipeline.settings import Settings

DOC = Path(__file__).parent.parent / "docs" / "settings.md"


def page() -> str:
    """Write the page."""
    lines = [
        "# Settings",
        "",
        "All stand under `prompt_evolution:` in the host's config.yaml, each section by its name.",
        "*Status* says how far a default can be trusted: measured, published, or arbitrary.",
        "",
        *_table("", Settings()),
    ]
    for field in fields(Settings):
        value = getattr(Settings(), field.name)
        if is_dataclass(value):
            lines += [
                "",
                f"## {field.name}",
                "",
                f"{(type(value).__doc__ or '').strip()}",
                "",
                *_table(field.name, value),
            ]
    return "\n".join(lines) + "\n"


def _table(section: str, value: Any) -> list[str]:
    rows = ["| setting | default | unit | what | source | status |", "| --- | --- | --- | --- | --- | --- |"]
    for field in fields(value):
        about: About | None = field.metadata.get("about")
        if about is None:
            continue
        default = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
        rows.append(
            f"| `{field.name}` | `{default}` | {about.unit} | {about.what} | {about.source} | {about.status} |".replace(
                "|  |", "| |"
            )
        )
    return rows


def test_the_page_lists_every_setting_as_it_is() -> None:
    """The committed page equals the one made from the settings."""
    assert page() == DOC.read_text(encoding="utf-8")


if __name__ == "__main__":
    DOC.write_text(page(), encoding="utf-8")
