"""nginx and haproxy as processes of their own, around the gateway.

Both are told to be lax about odd bytes, so that these reach what stands behind them. Everything
that they write goes into a folder of the test, and they listen on loopback alone.
"""

from __future__ import annotations

import grp
import os
import pwd
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pytest

from tests.integration.processes import Process, Processes
from tests.ports import free_port

Kind = Literal["nginx", "haproxy"]
KINDS: tuple[Kind, ...] = ("nginx", "haproxy")
PAGES = (302, 400, 401, 403, 404, 429, 500, 502, 503, 504)
"""Statuses that a proxy between answers by itself where the request's ``baggage`` names one."""
IDLE_S = 1
"""After so long the proxy between closes an idle connection of the gateway's."""
PATIENCE_S = 3
"""So long it waits for an answer."""
MOST_BODY = 20_000
"""Bytes that it takes on its small port."""


def program(kind: Kind) -> str:
    """Where it is. Debian has both outside the PATH of most users. CI must not skip it."""
    found = shutil.which(kind, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        reason = f"{kind} is not installed (Debian: apt-get install {kind})"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


@dataclass(frozen=True)
class Front:
    """Between clients and the gateway."""

    process: Process
    port: int
    plain_port: int
    """The proxy without any settings: nginx then speaks HTTP/1.0 to what is behind it, and keeps
    parts of an answer back."""
    stubborn_port: int
    """The same, but it keeps answers back though it is asked not to."""


@dataclass(frozen=True)
class Between:
    """Between the gateway and what it calls."""

    process: Process
    port: int
    small_port: int


def start_front(kind: Kind, processes: Processes, folder: Path, gateway_port: int) -> Front:
    command = program(kind)
    ports = free_port(), free_port(), free_port()
    write = _nginx_front if kind == "nginx" else _haproxy_front
    process = _start(kind, command, processes, folder, write(folder, gateway_port, ports))
    _wait(process, ports)
    return Front(process, *ports)


def start_between(kind: Kind, processes: Processes, folder: Path, upstream_port: int) -> Between:
    command = program(kind)
    ports = free_port(), free_port()
    write = _nginx_between if kind == "nginx" else _haproxy_between
    process = _start(kind, command, processes, folder, write(folder, upstream_port, ports))
    _wait(process, ports)
    return Between(process, *ports)


def _start(kind: Kind, command: str, processes: Processes, folder: Path, config: str) -> Process:
    path = folder / f"{kind}.conf"
    path.write_text(config, "utf-8")
    flags = ["-p", str(folder), "-c"] if kind == "nginx" else ["-db", "-f"]
    return processes.start(kind, [command, *flags, str(path)])


def _wait(process: Process, ports: tuple[int, ...]) -> None:
    def listening() -> bool:
        held = {
            connection.laddr.port
            for member in process.members()
            for connection in member.net_connections(kind="tcp")
            if connection.status == "LISTEN"
        }
        return held >= set(ports)

    process.wait_until(listening, 20, "listens")


def _nginx(folder: Path, servers: str) -> str:
    places = "\n".join(
        f"    {name}_temp_path {folder}/{name};"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    # root's nginx would give its worker to a user who may not enter the folder of a test.
    root = os.geteuid() == 0
    names = pwd.getpwuid(0).pw_name, grp.getgrgid(0).gr_name
    user = f"user {names[0]} {names[1]};" if root else ""
    return f"""
{user}
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
{places}
    access_log off;
    ignore_invalid_headers off;
    underscores_in_headers on;
    large_client_header_buffers 4 256k;
    client_max_body_size 0;
{servers}
}}
"""


def _nginx_front(folder: Path, gateway_port: int, ports: tuple[int, ...]) -> str:
    port, plain, stubborn = ports
    keep = """
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_request_buffering off;
            proxy_pass http://gateway;"""
    return _nginx(
        folder,
        f"""
    upstream gateway {{ server 127.0.0.1:{gateway_port}; keepalive 1; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{{keep}
        }}
    }}
    server {{
        listen 127.0.0.1:{stubborn};
        location / {{
            proxy_ignore_headers X-Accel-Buffering;
            proxy_pass http://gateway;
        }}
    }}
    server {{
        listen 127.0.0.1:{plain};
        location / {{ proxy_pass http://gateway; }}
    }}""",
    )


def _nginx_between(folder: Path, upstream_port: int, ports: tuple[int, ...]) -> str:
    port, small = ports
    pages = "\n".join(
        f"            if ($http_baggage = page-{status}) {{ return {status}"
        f"{' http://127.0.0.1:1/' if status == 302 else ''}; }}"
        for status in PAGES
    )
    location = f"""
        location / {{
{pages}
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout {PATIENCE_S}s;
            proxy_pass http://upstream;
        }}"""
    return _nginx(
        folder,
        f"""
    keepalive_timeout {IDLE_S}s;
    upstream upstream {{ server 127.0.0.1:{upstream_port}; keepalive 8; }}
    server {{
        listen 127.0.0.1:{port};{location}
    }}
    server {{
        listen 127.0.0.1:{small};
        client_max_body_size {MOST_BODY};{location}
    }}""",
    )


def _haproxy(rest: str) -> str:
    return f"""
global
    maxconn 256
    tune.bufsize 262144
defaults
    mode http
    option abortonclose
    option accept-invalid-http-request
    option accept-invalid-http-response
    option http-keep-alive
    http-reuse always
    timeout connect 2s
    timeout client 20s
    timeout http-request 20s
    timeout server 20s
{rest}
"""


def _haproxy_front(_folder: Path, gateway_port: int, ports: tuple[int, ...]) -> str:
    binds = "\n".join(f"    bind 127.0.0.1:{port}" for port in ports)
    return _haproxy(
        f"""
listen front
{binds}
    option forwardfor
    server gateway 127.0.0.1:{gateway_port}
"""
    )


def _haproxy_between(_folder: Path, upstream_port: int, ports: tuple[int, ...]) -> str:
    pages = "\n".join(
        f"    http-request return status {status} content-type text/html"
        f' string "<html>{status}</html>" if {{ req.hdr(baggage) page-{status} }}'
        for status in PAGES
        if status != 302
    )
    rules = f"""
{pages}
    http-request redirect location http://127.0.0.1:1/ if {{ req.hdr(baggage) page-302 }}
    timeout http-keep-alive {IDLE_S}s
    timeout server {PATIENCE_S}s
    server upstream 127.0.0.1:{upstream_port}
"""
    port, small = ports
    return _haproxy(
        f"""
listen between
    bind 127.0.0.1:{port}{rules}
listen small
    bind 127.0.0.1:{small}
    http-request deny deny_status 413 if {{ req.hdr_val(content-length) gt {MOST_BODY} }}{rules}
"""
    )
