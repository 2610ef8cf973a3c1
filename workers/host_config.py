"""The host's config.yaml: read what concerns us, and put a new prompt into it.

Only `skills:` and `prompt_evolution:` are looked at. Everything else belongs to the host, is never judged, and keeps
every byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from pipeline.domain import SkillName
from pipeline.errors import NotFound
from pipeline.settings import Settings
from pipeline.skills import SkillSpec
from workers.host_publish import publish
from workers.host_settings import SECTION, closest, read_settings
from workers.host_skills import NEAR_MISS, read_skills
from workers.host_templates import read_template
from workers.yaml_tree import MAX_BYTES, decode, parse, plain, read_bytes

__all__ = ["HostConfig", "file_stamp", "load_host_config", "publish", "read_template"]


@dataclass(frozen=True, slots=True)
class HostConfig:
    """What the host's configuration says about prompts.

    Attributes:
        path: the file.
        settings: `prompt_evolution:` over the defaults.
        skills: the entries of `skills:` that have a prompt, in the file's order.
        passed_over: names of the entries without a prompt.
        lines: line of every key that is given, such as `triggers.cooldown_h` or `skills.file-naming.model`.
    """

    path: Path
    settings: Settings
    skills: Mapping[SkillName, SkillSpec]
    passed_over: tuple[str, ...]
    lines: Mapping[str, int]

    def skill(self, name: str) -> SkillSpec:
        """Return one skill.

        Raises:
            NotFound: there is none of that name; the hint names the nearest.
        """
        found = self.skills.get(SkillName(name))
        if found is not None:
            return found
        near = closest(name, list(self.skills))
        known = f"Known are: {', '.join(self.skills)}." if self.skills else f"Add it under 'skills:' in {self.path}."
        why = f"Its entry in {self.path.name} has no prompt_template." if name in self.passed_over else ""
        hint = f"Did you mean '{near}'?" if near else known
        raise NotFound(f"There is no skill '{plain(name)}'.", why=why, hint=hint)

    def where(self, key: str) -> str:
        """Say where a setting stands, for messages; `default` when it is not given.

        Args:
            key: such as `triggers.cooldown_h` or `skills.file-naming.model`.
        """
        line = self.lines.get(key)
        return f"{self.path.name} line {line}" if line else "default"


def load_host_config(path: Path) -> HostConfig:
    """Read and check the host's configuration, its prompt templates and its schemas.

    Raises:
        ConfigError: something cannot be used; `why` begins with the file and line.
    """
    content = read_bytes(path, MAX_BYTES, hint="Run 'evoctl init', or name the file by --config PATH.")
    document = parse(decode(content, path.name), path.name)
    entries = document.entries(document.root, path.name) if document.root else ()
    sections, lines = {entry.name: entry for entry in entries}, dict[str, int]()
    for name in sections.keys() - {SECTION}:
        if closest(name, [SECTION], NEAR_MISS):
            what = f"{path.name} has a section '{plain(name)}'."
            raise document.error(sections[name].key, what, hint=f"Did you mean '{SECTION}'?")
    settings = read_settings(document, sections.get(SECTION), lines)
    skills, passed_over = read_skills(document, sections.get("skills"), path, lines)
    return HostConfig(path, settings, MappingProxyType(skills), passed_over, MappingProxyType(lines))


def load_settings(path: Path) -> Settings:
    """Read the settings alone: a skill whose files cannot be used does not matter here.

    Raises:
        ConfigError: the file or a setting cannot be used.
    """
    document = parse(decode(read_bytes(path, MAX_BYTES), path.name), path.name)
    entries = document.entries(document.root, path.name) if document.root else ()
    return read_settings(document, next((one for one in entries if one.name == SECTION), None), {})


def file_stamp(path: Path) -> tuple[int, int, int] | None:
    """Tell one state of a file from another without reading it: time of change, inode, size; None when it is missing."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
