"""The property list of a launchd agent (macOS), after the manual page launchd.plist(5); no machine here has launchd."""

from __future__ import annotations

import plistlib

from ops.deploy.service import NICE, RESTART_S, STOP_S, Service


def plist(service: Service) -> str:
    """Write the property list; its file must be called `<label>.plist`."""
    return (
        plistlib.dumps(
            {
                "Label": service.label,
                "ProgramArguments": list(service.command),
                "EnvironmentVariables": service.environment,
                "RunAtLoad": True,
                "KeepAlive": True,  # whatever its exit status: a worker also ends with 0 when its Redis dies
                "ThrottleInterval": RESTART_S,
                "ExitTimeOut": STOP_S,
                "ProcessType": "Background",
                "Nice": NICE,
                "LowPriorityIO": True,
                "LowPriorityBackgroundIO": True,
                "Umask": 0o077,
                "StandardOutPath": service.log,
                "StandardErrorPath": service.log,
            },
            sort_keys=False,
        )
        .decode()
        .replace("\t", "  ")
    )  # no value has a tab
