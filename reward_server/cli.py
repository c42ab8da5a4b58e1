"""The command `reward-server`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bon_common.logs import configure
from bon_common.settings.errors import SettingsError
from bon_common.settings.sources import as_yaml
from reward_server.errors import StartupError
from reward_server.server import serve
from reward_server.settings_sources import resolve

BAD_SETTINGS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code: 0, or 2 for settings that cannot be served."""
    try:
        invocation = resolve(sys.argv[1:] if argv is None else argv, os.environ)
        if invocation.print_config:
            sys.stdout.write(as_yaml(invocation.settings))
            return 0
        configure(invocation.settings.log_level)
        serve(invocation.settings, os.environ)
    except SettingsError as error:
        print(f"reward-server: {error}", file=sys.stderr)
        return BAD_SETTINGS
    except StartupError as error:
        print(f"reward-server: startup: {error}", file=sys.stderr)
        return BAD_SETTINGS
    return 0
