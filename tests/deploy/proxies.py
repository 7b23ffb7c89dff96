"""Reverse proxies as people run them: nginx and Caddy on the configurations of examples/, HAProxy on a plain one."""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

from tests.support.processes import ROOT
from tests.support.web_servers import installed, nginx_command

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = ROOT / "examples"


def program(name: str) -> str:
    return installed(name, what_is_not_tried="examples/")


def nginx(directory: Path, backend: int, secure: int, plain: int) -> list[str]:
    """The command of nginx on the example, at these ports."""
    nginx, openssl = program("nginx"), program("openssl")
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=heap.example.com", "-days", "2"]
    subprocess.run([openssl, *request, "-out", certificate, "-keyout", key], check=True, capture_output=True)
    site = (EXAMPLES / "nginx.conf").read_text()
    for pattern, replacement in (
        (r"listen \[::\]:\d+.*\n", "\n"),
        (r"listen 80;", f"listen 127.0.0.1:{plain};"),
        (r"listen 443 ssl;", f"listen 127.0.0.1:{secure} ssl;"),
        (r"/etc/letsencrypt/live/heap\.example\.com/fullchain\.pem", str(certificate)),
        (r"/etc/letsencrypt/live/heap\.example\.com/privkey\.pem", str(key)),
        (r"/var/log/nginx/cohort-gateway\.log", str(directory / "access.log")),
        (r"/var/log/nginx/error\.log", "stderr"),
        (r"127\.0\.0\.1:8001", f"127.0.0.1:{backend}"),
        (r"127\.0\.0\.1:8003", f"127.0.0.1:{backend}"),
    ):
        site, count = re.subn(pattern, replacement, site)
        assert count, f"nginx.conf has changed: no {pattern}"
    (directory / "site.conf").write_text(site)
    return nginx_command(nginx, directory, f"include {directory}/site.conf;")


def caddy(directory: Path, backend: int, secure: int, plain: int) -> list[str]:
    """As for nginx, with certificates of Caddy's own authority in place of one on the internet."""
    caddy = program("caddy")
    site = (EXAMPLES / "Caddyfile").read_text()
    ports = [f"http_port {plain}", f"https_port {secure}"]
    options = ["admin off", "default_bind 127.0.0.1", "local_certs", "skip_install_trust", *ports]
    for old, new in (
        ("\n{\n", "\n{\n\t" + "\n\t".join(options) + "\n"),
        ("127.0.0.1:8001", f"127.0.0.1:{backend}"),
        ("127.0.0.1:8003", f"127.0.0.1:{backend}"),
    ):
        assert old in site, f"Caddyfile has changed: no {old!r}"
        site = site.replace(old, new)
    (directory / "Caddyfile").write_text(site)
    return [caddy, "run", "--adapter", "caddyfile", "--config", str(directory / "Caddyfile")]


def haproxy(directory: Path, backend: int, secure: int, plain: int) -> list[str]:
    """HAProxy as it passes on everything, without TLS, and shares its connections as freely as it can."""
    del secure
    (directory / "haproxy.cfg").write_text(
        f"""
defaults
    mode http
    timeout connect 5s
    timeout client 30s
    timeout server 30s
frontend public
    bind 127.0.0.1:{plain}
    default_backend receiver
backend receiver
    http-reuse always
    server receiver 127.0.0.1:{backend}
"""
    )
    return [program("haproxy"), "-db", "-f", str(directory / "haproxy.cfg")]
