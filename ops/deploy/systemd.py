"""The unit of a systemd user service (Linux), after systemd.service(5), systemd.exec(5) and systemd.syntax(7)."""

from __future__ import annotations

from ops.deploy.service import NICE, RESTART_S, STOP_S, Service

MEMORY_HIGH, MEMORY_MAX = "1G", "1536M"  # of all our processes together; Ollama's memory is not among it (arbitrary)
_REFUSED = set("\"'\\")  # "Executable name contains special characters", whatever the quoting
OOM_SCORE = 900  # of 1000: when memory runs out, evolution goes first


def unit(service: Service) -> str:
    """Write the unit file."""
    variables = "\n".join(f"Environment={_quoted(f'{name}={value}')}" for name, value in service.environment.items())
    return f"""\
# Written by `evoctl service install`; `evoctl service uninstall` removes it.
[Unit]
Description=Prompt evolution in the background
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=:{" ".join(map(_quoted, _startable(service.command)))}
{variables}
StandardOutput=append:{_doubled(service.log)}
StandardError=inherit
Restart=always
RestartSec={RESTART_S}
KillMode=mixed
TimeoutStopSec={STOP_S}
Nice={NICE}
CPUSchedulingPolicy=idle
IOSchedulingClass=idle
CPUWeight=idle
MemoryHigh={MEMORY_HIGH}
MemoryMax={MEMORY_MAX}
OOMScoreAdjust={OOM_SCORE}
NoNewPrivileges=yes
{"ProtectSystem=full" if service.protect else "# No ProtectSystem: the home or the configuration lies in a folder of the system."}
UMask=0077

[Install]
WantedBy=default.target
"""


def _startable(command: tuple[str, ...]) -> tuple[str, ...]:
    """Start a program through the shell when systemd would refuse its name."""
    return ("/bin/sh", "-c", 'exec "$0" "$@"', *command) if set(command[0]) & _REFUSED else command


def _quoted(word: str) -> str:
    """Quote one word; with `:` before the command a dollar sign has no meaning."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{_doubled(escaped)}"'


def _doubled(text: str) -> str:
    """Write a percent sign as itself and not as the begin of a specifier."""
    return text.replace("%", "%%")
