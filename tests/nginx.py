"""nginx for tests: one server on a free port, before whatever its configuration says; and its log of requests."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.processes import Child

SLOW_AT_FIRST = "limit_rate $rate;\n"
"""Directives of a server that is slow, but where it is asked for a part; with ``RATES`` in what is said of all."""
RATES = 'map $http_range $rate { "" 16k; default 0; }\n'
_LOGGED = {
    "at": "$msec", "method": "$request_method", "path": "$request_uri", "status": "$status", "range": "$http_range",
    "authorization": "$http_authorization", "certificate": "$ssl_client_s_dn", "fleet": "$http_x_fleet",
    "sent": "$body_bytes_sent",
}  # fmt: skip
_CONFIG = """
daemon off;
worker_processes 1;
pid {folder}/pid;
{user}
events {{ worker_connections 64; }}
http {{
  log_format seen escape=json '{log}';
  access_log {folder}/access.log seen;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  scgi_temp_path {folder}/scgi;
  uwsgi_temp_path {folder}/uwsgi;
  {http}
  server {{
    listen {listen};
    {tls}
    {server}
  }}
}}
"""


@dataclass(frozen=True)
class Nginx:
    """A running nginx.

    Attributes:
        domain: where it listens, ``host:port``.
        folder: its files.
        process: its master.
    """

    domain: str
    folder: Path
    process: Child[bytes]

    def seen(self, path: str = "") -> list[dict[str, Any]]:
        """Return the requests whose paths contain ``path``, by their ends; all are there once it has ended."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [line for line in map(json.loads, lines) if path in line["path"]]

    def workers(self) -> list[int]:
        """Return the processes that answer."""
        pid = self.process.pid
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def kill_worker(self) -> None:
        """Kill what answers now; the master starts another one."""
        (worker,) = self.workers()
        os.kill(worker, signal.SIGKILL)


@contextmanager
def nginx(
    folder: Path,
    server: str,
    *,
    host: str = "127.0.0.1",
    http: str = "",
    certificate: Path | None = None,
    key: Path | None = None,
) -> Iterator[Nginx]:
    """Run nginx for as long as the block lasts.

    Args:
        folder: of its files.
        server: what its configuration says of the server.
        host: address at which it listens.
        http: what it says of all.
        certificate: with which it speaks TLS.
        key: of that.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with socket.create_server((host, 0)) as listener:
        domain = f"{host}:{listener.getsockname()[1]}"
        config = _CONFIG.format(
            folder=folder,
            user="user root;" if os.geteuid() == 0 else "",
            log=json.dumps(_LOGGED),
            http=http,
            listen=f"{domain} ssl" if certificate else domain,
            tls=f"ssl_certificate {certificate}; ssl_certificate_key {key};" if certificate else "",
            server=server,
        )
        (folder / "nginx.conf").write_text(config)
        # It takes a socket that listens from the environment, as from its predecessor when it replaces its program.
        process = Child[bytes](
            ["/usr/sbin/nginx", "-e", folder / "error.log", "-c", folder / "nginx.conf"],
            pass_fds=[listener.fileno()],
            env={**os.environ, "NGINX": f"{listener.fileno()};"},
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    with process:
        try:
            yield Nginx(domain, folder, process)
        finally:
            process.terminate()


CACHE = "proxy_cache_path {folder}/cache keys_zone=mirror:1m;\n"
"""What is said of all of a server that passes everything on once; with the folder of its files."""


def once(registry: str) -> str:
    """Return directives that ask a registry for each answer once, and keep it for all who ask meanwhile and later."""
    return f"""
        location / {{
          proxy_pass http://{registry};
          proxy_cache mirror;
          proxy_cache_key $uri;
          proxy_cache_valid 200 1d;
          proxy_cache_lock on;
          proxy_cache_lock_age 10m;
          proxy_cache_lock_timeout 10m;
        }}
    """


def before(registry: str) -> str:
    """Return directives that pass everything on to a registry."""
    return f"location / {{ proxy_pass http://{registry}; proxy_set_header Host $http_host; }}\n"
