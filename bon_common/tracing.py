"""The headers that tie a client's trace to what upstreams do for it (W3C Trace Context, Baggage).

The gateway passes them on unchanged, and the reward server logs the trace; neither makes spans.
Malformed and overlong headers are dropped, so that no unchecked text of a client reaches a log or a
request to an upstream.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

# A future version may have more after the four fields, and that is passed on too.
_PARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,64})?")
_LISTS = {
    b"tracestate": re.compile(rb"[!-~](?:[ -~]{0,1022}[!-~])?"),
    b"baggage": re.compile(rb"[!-~](?:[ -~]{0,8190}[!-~])?"),
}


REQUEST_ID = re.compile(rb"[!-~]{1,128}")
"""Request ids of clients that both servers adopt, so that both log a request under the same one."""


def trace_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers to pass on, from ``headers`` with names in lower case."""
    parents: list[bytes] = []
    lists: dict[bytes, bytes] = {}
    for name, value in headers:
        if name == b"traceparent":
            parents.append(value)
        elif name in _LISTS:
            # A list may be split over several headers.
            lists[name] = b"%b,%b" % (lists[name], value) if name in lists else value
    found: dict[str, str] = {}
    if len(parents) == 1 and _PARENT.fullmatch(parents[0]):
        found["traceparent"] = parents[0].decode("ascii")
    for name, value in lists.items():
        # Vendors' state means nothing without the trace that it belongs to.
        belongs = name == b"baggage" or "traceparent" in found
        if belongs and _LISTS[name].fullmatch(value):
            found[name.decode("ascii")] = value.decode("ascii")
    return found
