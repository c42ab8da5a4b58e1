"""The command `reward-server`."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from bon_common.logs import configure
from reward_server.errors import StartupError
from reward_server.server import serve
from reward_server.settings_sources import SettingsError, describe, resolve

BAD_SETTINGS = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until a signal; return the exit code: 0, or 2 for settings that cannot be served."""
    try:
        invocation = resolve(sys.argv[1:] if argv is None else argv, os.environ)
    except SettingsError as error:
        print(f"reward-server: {error}", file=sys.stderr)
        return BAD_SETTINGS
    if invocation.print_config:
        print(describe(invocation.settings), end="")
        return 0
    configure(invocation.settings.log_level)
    try:
        serve(invocation.settings)
    except SettingsError as error:
        print(f"reward-server: {error}", file=sys.stderr)
        return BAD_SETTINGS
    except StartupError as error:
        print(f"reward-server: startup: {error}", file=sys.stderr)
        return BAD_SETTINGS
    return 0
