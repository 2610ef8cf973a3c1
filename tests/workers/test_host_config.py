"""Reading the host's configuration: what is understood, and what is said about everything else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import ops.examples
from pipeline.domain import SkillName
from pipeline.errors import ConfigError, NotFound
from pipeline.setting import to_data
from pipeline.settings import Foreground, Settings
from pipeline.skills import SkillSpec, parse_template
from workers.host_config import HostConfig, load_host_config, read_template
from workers.host_skills import POOR

EXAMPLE = Path(ops.examples.__file__).parent / "config.yaml"
TEMPLATE = "Name it.\n---\nText: {{text}}\n"
MINIMAL = "skills:\n  file-naming:\n    prompt_template: skills/a.md\n"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """Make a host's folder with one template and return the path of its configuration."""
    (tmp_path / "skills").mkdir()
    (tmp_path / "skills" / "a.md").write_text(TEMPLATE, encoding="utf-8")
    return tmp_path / "config.yaml"


def load(host: Path, text: str | bytes) -> HostConfig:
    """Write the configuration and read it."""
    host.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return load_host_config(host)


def complaint(host: Path, text: str | bytes) -> ConfigError:
    """Write a configuration that cannot be used and return what is said about it."""
    with pytest.raises(ConfigError) as caught:
        load(host, text)
    assert str(caught.value).isprintable()
    return caught.value


def outcome(host: Path, content: bytes) -> str:
    """Read any bytes and return what is said about them, nothing when they can be used."""
    try:
        load(host, content)
    except ConfigError as error:
        return str(error)
    return ""


def entry(line: str) -> str:
    """Return a configuration whose skill has one more line, which is its fourth."""
    return f"{MINIMAL}    {line}\n"


def test_the_example_is_valid() -> None:
    """What `evoctl init --example` copies loads, uses the default settings, and says what its host sends: nothing."""
    config = load_host_config(EXAMPLE)

    assert tuple(config.skills) == ("file-naming", "audio-actions", "markdown-analysis", "code-linting-fast")
    assert config.settings == Settings(foreground=Foreground(options=()))
    assert [bool(spec.poor_candidate) for spec in config.skills.values()] == [False, False, False, True]
    assert json.loads(config.skill("markdown-analysis").schema)["type"] == "object"


def test_the_example_names_true_defaults(host: Path) -> None:
    """Uncommenting every setting of the example changes nothing: each comment is the default."""
    shutil.copytree(EXAMPLE.parent / "skills", host.parent / "skills", dirs_exist_ok=True)
    head, middle, section = EXAMPLE.read_text(encoding="utf-8").partition("\nprompt_evolution:\n")

    config = load(host, head + middle + re.sub(r"(?m)^( +)# ([a-z_]+: )", r"\1\2", section))

    given = [key for key in config.lines if not key.startswith("skills.")]
    assert len(given) > 15
    assert config.settings == Settings(foreground=Foreground(options=()))


def test_the_seed_prompt_of_file_naming_is_kept_word_for_word() -> None:
    """The first prompt is the one that the project began with."""
    template = parse_template(read_template(EXAMPLE, "skills/file-naming.md"))

    assert template.instruction == "Generate a descriptive filename based on visual content."
    assert "{{description}}" in template.frame
    assert "{{original_name}}" in template.frame


def test_an_entry_with_a_template_is_a_skill(host: Path) -> None:
    """Everything but the template has a default."""
    assert dict(load(host, MINIMAL).skills) == {
        "file-naming": SkillSpec(name=SkillName("file-naming"), template="skills/a.md")
    }


def test_every_key_of_a_skill_is_read(host: Path) -> None:
    """Each key of an entry arrives in its field, and keys of the host's are passed over."""
    text = entry(
        "prompt_version: 3\n    model: m:1b\n    scorer: json-schema\n    description: What it is.\n    enabled: false\n"
        "    poor_candidate: too easy\n    schema: {type: object, required: [b, a]}\n    num_predict: 9\n    temperature: 1\n"
        "    evolved_at: 2026-01-01\n    previous_accuracy: ~\n    current_accuracy: 0.9\n    hosts_own: {x: [1]}"
    )

    spec = load(host, text).skill("file-naming")

    assert spec == SkillSpec(
        name=SkillName("file-naming"),
        template="skills/a.md",
        version=3,
        task_model="m:1b",
        scorer="json-schema",
        about="What it is.",
        enabled=False,
        poor_candidate="too easy",
        schema='{"type":"object","required":["b","a"]}',
        num_predict=9,
        temperature=1.0,
    )
    assert isinstance(spec.temperature, float)


def test_a_schema_may_stand_in_its_own_file(host: Path) -> None:
    """A schema's file keeps its order, because a model writes the keys in that order."""
    (host.parent / "skills" / "a.json").write_text('{"z": 1, "a": {"b": []}}', encoding="utf-8")

    assert load(host, entry("schema: skills/a.json")).skill("file-naming").schema == '{"z":1,"a":{"b":[]}}'


@pytest.mark.parametrize(
    ("name", "line", "poor"),
    [
        ("code-linting-fast", "", POOR),
        ("code-linting-fast", "poor_candidate: false", ""),
        ("file-naming", "", ""),
        ("file-naming", "poor_candidate: true", POOR),
        ("file-naming", 'poor_candidate: ""', ""),
    ],
)
def test_linting_is_a_poor_candidate_unless_told_otherwise(host: Path, name: str, line: str, poor: str) -> None:
    """Fixed rules leave a prompt little to improve; the person has the last word."""
    config = load(host, entry(line).replace("file-naming", name))

    assert config.skill(name).poor_candidate == poor


@pytest.mark.parametrize(
    "scorer", ["file-naming", "set-f1", "exact", "python:my.module:score", "command:./score --fast"]
)
def test_scorers_of_every_kind_are_accepted(host: Path, scorer: str) -> None:
    """Built-in scorers, callables and commands can be named."""
    assert load(host, entry(f"scorer: {scorer}")).skill("file-naming").scorer == scorer


def test_every_setting_can_be_given(host: Path) -> None:
    """The defaults written out, section by section, read back as the defaults, whole floats as integers too."""
    data = {"prompt_evolution": to_data(Settings())}
    whole = re.sub(r"(\d)\.0(?=[,}])", r"\1", json.dumps(data))

    assert load(host, json.dumps(data)).settings == Settings()
    config = load(host, whole)
    assert config.settings == Settings()
    assert isinstance(config.settings.triggers.cooldown_h, float)


def test_a_setting_knows_its_line(host: Path) -> None:
    """Messages name the line of what was set, and say `default` of what was not."""
    config = load(host, f"{MINIMAL}prompt_evolution:\n  triggers:\n    cooldown_h: 1\n")

    assert config.settings.triggers.cooldown_h == 1.0
    assert config.where("triggers.cooldown_h") == "config.yaml line 6"
    assert config.where("triggers.sample_size") == "default"
    assert config.where("skills.file-naming.prompt_template") == "config.yaml line 3"


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "skills:\n", "skills: {}\nprompt_evolution:\n"])
def test_a_configuration_without_our_sections_has_the_defaults(host: Path, text: str) -> None:
    """The file belongs to the host, so that it may say nothing of prompts."""
    config = load(host, text)

    assert (config.settings, dict(config.skills)) == (Settings(), {})


@pytest.mark.parametrize(
    "text",
    [
        "secrets: !vault abc\n",
        "loop: &a [*a]\n",
        "same: &x 1\nother: &x 2\n",
        "1: a\n? [complex]\n: b\n",
        "big: " + "9" * 5000 + "\n",
        "inner: {a: 1, a: 2}\n",
        "skill: mine\n",
    ],
)
def test_what_belongs_to_the_host_is_not_judged(host: Path, text: str) -> None:
    """Tags, loops, reused anchors and doubled keys outside our sections are the host's affair."""
    assert "file-naming" in load(host, text + MINIMAL).skills


def test_entries_without_a_prompt_are_passed_over(host: Path) -> None:
    """A host may have skills that need no prompt; they are named, not refused."""
    config = load(host, f"{MINIMAL}  rule-based:\n    command: run\n  nothing:\n")

    assert tuple(config.skills) == ("file-naming",)
    assert config.passed_over == ("rule-based", "nothing")


def test_merges_and_aliases_are_followed(host: Path) -> None:
    """A host's defaults, merged or aliased, count like values written out; its own keys win."""
    text = (
        "base: &base {model: m1, num_predict: 7}\nmore: &more\n  <<: *base\n  model: m2\nn: &n 5\n"
        f"{MINIMAL}    <<: [*more, *base]\n    prompt_version: *n\n"
    )

    spec = load(host, text).skill("file-naming")

    assert (spec.task_model, spec.num_predict, spec.version) == ("m2", 7, 5)


def test_a_byte_order_mark_and_windows_lines_are_read(host: Path) -> None:
    """A file from a Windows editor is as good as another."""
    assert load(host, ("\ufeff" + MINIMAL).replace("\n", "\r\n").encode()).skill("file-naming").version == 1


def test_a_missing_skill_is_told_with_the_nearest(host: Path) -> None:
    """A typing error in a skill's name is answered with the name that was meant."""
    with pytest.raises(NotFound, match="Did you mean 'file-naming'"):
        load(host, MINIMAL).skill("file-namng")


YAML_11 = "%YAML 1.1\n---\n"
BAD = {  # name: (content, line that must be named, words that must be said)
    "tab": ("skills:\n\tfile-naming: 1\n", 2, "spaces"),
    "unclosed": ("a: [1\nb: 2\n", 2, "not valid YAML"),
    "half a quote": ('a: "x\n', 2, "not valid YAML"),
    "two documents": (MINIMAL + "---\na: 1\n", 4, "one document"),
    "undefined alias": ("a: 1\nb: *c\n", 2, "c"),
    "control character": ("a: 1\nb: \x1b[2J\n", 2, "not allow"),
    "nul": ("a: 1\nb: \0\n", 2, "NUL"),
    "not utf-8": (b"a: 1\nb: \xff\n", 2, "UTF-8"),
    "utf-16": ("a: 1".encode("utf-16"), 1, "UTF-8"),
    "surrogate in utf-8": (b"a: \xed\xa0\x80\n", 1, "UTF-8"),
    "a word": ("hello", 1, "mapping"),
    "a list": ("- a\n", 1, "mapping"),
    "too deep": ("[" * 5000, 1, "deep"),
    "future yaml": ("%YAML 3.0\n---\na: 1\n", 1, "not valid YAML"),
    "skills a list": ("skills:\n  - a\n", 2, "mapping"),
    "skill a word": ("skills:\n  a: b\n", 2, "mapping"),
    "key twice": (MINIMAL + "    model: a\n    model: b\n", 5, "twice"),
    "skill twice": (MINIMAL + "  file-naming:\n    model: b\n", 4, "twice"),
    "section twice": (MINIMAL + "skills:\n", 4, "twice"),
    "misspelt section": ("a: 1\nprompt_evolutoin:\n  enabled: false\n", 2, "Did you mean 'prompt_evolution'"),
    "misspelt key": ("skills:\n  a:\n    prompt_templte: skills/a.md\n", 3, "Did you mean 'prompt_template'"),
    "version without template": ("skills:\n  a:\n    prompt_version: 1\n", 2, "prompt_template"),
    "empty template": ("skills:\n  a:\n    prompt_template:\n    x: 1\n", 3, "text"),
    "template a number": ("skills:\n  a:\n    prompt_template: 5\n", 3, "text"),
    "version text": (entry("prompt_version: two"), 4, "whole number"),
    "version true": (entry("prompt_version: true"), 4, "whole number"),
    "version a fraction": (entry("prompt_version: 1.5"), 4, "whole number"),
    "version zero": (entry("prompt_version: 0"), 4, "between 1"),
    "version huge": (entry("prompt_version: " + "9" * 5000), 4, "cannot be read"),
    "version empty": (entry("prompt_version:"), 4, "whole number"),
    "python tag": (entry("model: !!python/object/apply:os.system [x]"), 4, "not a list"),
    "unknown tag": (entry("model: !secret x"), 4, "cannot be read"),
    "model empty": (entry('model: ""'), 4, "text"),
    "model control": (entry('model: "a\\e[2J"'), 4, "control"),
    "model surrogate": (entry('model: "\\ud800"'), 4, "surrogate"),
    "model two lines": (entry('model: "a\\nb"'), 4, "one line"),
    "scorer unknown": (entry("scorer: file-name"), 4, "Did you mean 'file-naming'"),
    "scorer half": (entry("scorer: 'python:os'"), 4, "scorer"),
    "scorer no command": (entry("scorer: 'command: '"), 4, "scorer"),
    "no schema": (entry("scorer: json-schema"), 4, "schema"),
    "schema a list": (entry("schema: [1]"), 4, "JSON schema"),
    "schema a date": (entry("schema: {a: 2026-01-01}"), 4, "JSON"),
    "schema infinite": (entry("schema: {a: .inf}"), 4, "JSON"),
    "schema in itself": (entry("schema: &s {a: *s}"), 4, "holds itself"),
    "schema grows": (
        "a: &a [1,1,1,1,1,1,1,1,1]\nb: &b [*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b]\n"
        "d: &d [*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d]\n" + entry("schema: {x: *e}"),
        None,
        "too large",
    ),
    "schema missing": (entry("schema: skills/none.json"), 4, "exist"),
    "schema outside": (entry("schema: ../a.json"), 4, ".."),
    "schema not json": (entry("schema: skills/a.md"), 4, ".json"),
    "temperature hot": (entry("temperature: 2.1"), 4, "between 0 and 2"),
    "temperature nan": (entry("temperature: .nan"), 4, "number"),
    "enabled text": (entry("enabled: yes"), 4, "true or false"),
    "poor a number": (entry("poor_candidate: 3"), 4, "reason"),
    "merge of a word": (entry("<<: word"), 3, "merges"),
    "setting unknown": ("prompt_evolution:\n  triggers:\n    acuracy_threshold: 1\n", 3, "triggers.accuracy_threshold"),
    "setting elsewhere": ("prompt_evolution:\n  gate:\n    cooldown_h: 1\n", 3, "prompt_evolution.triggers.cooldown_h"),
    "setting of old": ("prompt_evolution:\n  ab_testing:\n    votes_required: 1\n", 2, "prompt_evolution.voting"),
    "section unknown": ("prompt_evolution:\n  zzz: 1\n", 2, "Known here"),
    "section a word": ("prompt_evolution:\n  triggers: x\n", 2, "mapping"),
    "settings a list": ("prompt_evolution:\n  - a\n", 2, "mapping"),
    "load option flat": (
        "prompt_evolution:\n  foreground:\n    num_ctx: 4096\n",
        3,
        "foreground.options, as {num_ctx: ...}",
    ),
    "load option unknown": (
        "prompt_evolution:\n  foreground:\n    options: {temperature: 0}\n",
        3,
        "no load option 'temperature'",
    ),
    "load option a text": ("prompt_evolution:\n  foreground:\n    options: {num_ctx: big}\n", 3, "a whole number"),
    "load option of none": ("prompt_evolution:\n  foreground:\n    options: {num_ctx: 0}\n", 3, "a whole number"),
    "load option a number": ("prompt_evolution:\n  foreground:\n    options: {use_mmap: 1}\n", 3, "true or false"),
    "load options a word": ("prompt_evolution:\n  foreground:\n    options: none\n", 3, "mapping"),
    "bool for a number": ("prompt_evolution:\n  voting:\n    cards: true\n", 3, "whole number"),
    "number for a bool": ("prompt_evolution:\n  enabled: 1\n", 2, "true or false"),
    "fraction for a whole": ("prompt_evolution:\n  voting:\n    cards: 2.5\n", 3, "whole number"),
    "text for a number": ("prompt_evolution:\n  voting:\n    max_days: '7'\n", 3, "a number"),
    "nothing for a number": ("prompt_evolution:\n  voting:\n    max_days:\n", 3, "a number"),
    "too low": ("prompt_evolution:\n  voting:\n    cards: 1\n", 3, "between 2 and 4"),
    "too high": ("prompt_evolution:\n  voting:\n    cards: 5\n", 3, "between 2 and 4"),
    "below": ("prompt_evolution:\n  search:\n    patience: 0\n", 3, "at least 1 (generations)"),
    "infinite": ("prompt_evolution:\n  voting:\n    max_days: .inf\n", 3, "a number"),
    "past all floats": (f"prompt_evolution:\n  voting:\n    max_days: 1{'0' * 400}\n", 3, "a number"),
    "settings yaml 1.1": (YAML_11 + "prompt_evolution:\n  enabled: 017\n", 4, "true or false"),
}


@pytest.mark.parametrize(("content", "line", "words"), BAD.values(), ids=BAD.keys())
def test_bad_configurations_are_told_by_file_and_line(
    host: Path, content: str | bytes, line: int | None, words: str
) -> None:
    """Every mistake is one ConfigError whose reason begins with the file and line."""
    error = complaint(host, content)

    assert re.match(r"config\.yaml line \d+: ", error.why)
    assert words in str(error)
    assert line is None or error.why.startswith(f"config.yaml line {line}:")


NAMES = [
    "FILE-NAMING",
    "../x",
    "a/b",
    "a\\b",
    "-rf",
    ".",
    "1a",
    "a_b",
    "a b",
    "é",
    "ﬁle",
    "😀",
    "a.",
    "$HOME",
    "~",
    "a" * 65,
    '""',
]


@pytest.mark.parametrize("name", NAMES)
def test_impossible_names_are_refused(host: Path, name: str) -> None:
    """A skill's name is used in file names and job ids, so its alphabet is small."""
    error = complaint(host, f"skills:\n  {name}:\n    prompt_template: skills/a.md\n")

    assert error.why.startswith("config.yaml line 2:")


PATHS = [
    "../a.md",
    "skills/../../a.md",
    "skills/../skills/a.md",
    "/etc/passwd",
    "/etc/a.md",
    "~/a.md",
    "~user/a.md",
    "skills\\\\a.md",
    "skills/a.txt",
    "skills/a",
    "skills/A.MD",
    "skills",
    "skills/none.md",
    "file://skills/a.md",
    "%2e%2e%2fa.md",
    "$HOME/a.md",
    "a" * 300 + ".md",
    "x/" * 3000 + "a.md",
    "skills/a.md ",
    "skills/folder.md",
    "skills/fifo.md",
    "skills/outside.md",
    "skills/loop.md",
    "outside/a.md",
    "skills/large.md",
    "skills/binary.md",
    "skills/nul.md",
    "skills/frame-only.md",
    "skills/no-field.md",
    "skills/empty.md",
]


@pytest.mark.parametrize("relative", PATHS, ids=lambda path: path[:30])
def test_impossible_templates_are_refused(host: Path, tmp_path_factory: pytest.TempPathFactory, relative: str) -> None:
    """A template is a small readable .md file inside the configuration's folder, with an instruction and a field."""
    skills, outside = host.parent / "skills", tmp_path_factory.mktemp("outside")
    (outside / "a.md").write_text(TEMPLATE, encoding="utf-8")
    (skills / "folder.md").mkdir()
    os.mkfifo(skills / "fifo.md")
    (skills / "outside.md").symlink_to(outside / "a.md")
    (skills / "loop.md").symlink_to("loop.md")
    (host.parent / "outside").symlink_to(outside)
    (skills / "large.md").write_text(TEMPLATE + "x" * 256 * 1024, encoding="utf-8")
    (skills / "binary.md").write_bytes(b"\xff" + TEMPLATE.encode())
    (skills / "nul.md").write_bytes(TEMPLATE.encode() + b"\0")
    (skills / "frame-only.md").write_text("---\n{{text}}\n", encoding="utf-8")
    (skills / "no-field.md").write_text("Name it.\n---\n", encoding="utf-8")
    (skills / "empty.md").write_text("", encoding="utf-8")

    error = complaint(host, f'skills:\n  a:\n    prompt_template: "{relative}"\n')

    assert error.why.startswith("config.yaml line 3:")
    assert "skills.a" in error.what


def test_a_link_inside_the_folder_is_followed(host: Path) -> None:
    """A symbolic link is fine as long as it stays below the configuration's folder."""
    (host.parent / "skills" / "b.md").symlink_to("a.md")

    assert load(host, MINIMAL.replace("a.md", "b.md")).skill("file-naming").template == "skills/b.md"


def test_a_linked_configuration_may_have_its_templates_beside_either_end(
    host: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Dotfiles are often links; templates beside the link or beside its target are found."""
    place = tmp_path_factory.mktemp("place")
    host.write_text(MINIMAL, encoding="utf-8")
    link = place / "config.yaml"
    link.symlink_to(host)

    assert "file-naming" in load_host_config(link).skills
    (place / "skills").symlink_to(host.parent / "skills")
    assert "file-naming" in load_host_config(link).skills
    (place / "skills").unlink()
    shutil.move(host.parent / "skills", place / "skills")
    assert "file-naming" in load_host_config(link).skills


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "large", "dangling", "behind a file", "nul"])
def test_a_file_that_is_none_is_told(host: Path, kind: str) -> None:
    """A missing, endless or enormous file is refused at once, and a missing one says how to begin."""
    path = host
    if kind == "folder":
        host.mkdir()
    elif kind == "fifo":
        os.mkfifo(host)
    elif kind == "large":
        host.write_bytes(b"# \n" * 400_000)
    elif kind == "dangling":
        host.symlink_to("nowhere")
    elif kind == "behind a file":
        host.touch()
        path = host / "config.yaml"
    elif kind == "nul":
        path = host.parent / "a\0b"

    with pytest.raises(ConfigError) as caught:
        load_host_config(path)

    assert str(caught.value).isprintable()
    if kind == "missing":
        assert "evoctl init" in caught.value.hint


@settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=60), st.text("skil:{}[]&*<>|!%@#'\"\n\t -?,a1~\\", max_size=60).map(str.encode)))
def test_no_file_breaks_the_reader(host: Path, content: bytes) -> None:
    """Whatever stands in the file, it is read or refused with one printable line."""
    assert outcome(host, content).isprintable()


def test_reading_the_configuration_loads_no_lock() -> None:
    """Only a publication needs the file lock, so that readers do not pay for it."""
    code = "import sys, workers.host_config; sys.exit('filelock' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{}", ()),
        ("{num_ctx: 4096, use_mmap: false}", (("num_ctx", 4096), ("use_mmap", False))),
        ("", None),
    ],
)
def test_the_hosts_load_options_are_read_as_they_stand(host: Path, text: str, expected: object) -> None:
    """An empty mapping says that the host sends none; no value says nothing."""
    config = load(host, f"{MINIMAL}prompt_evolution:\n  foreground:\n    options: {text}\n")

    assert config.settings.foreground.options == expected
    assert config.where("foreground.options").endswith("line 6")
