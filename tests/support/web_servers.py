"""Web servers of the machine, such as nginx: started with a configuration of the tests', stopped by their pid."""

from __future__ import annotations

import collections
import contextlib
import os
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NGINX_IS_READY = "OS: "  # in the line that it says once it serves
_STOP_SECONDS = 30


def installed(name: str, *, what_is_not_tried: str) -> str:
    """The path of a program. The test is skipped, loudly, where there is none."""
    # Debian has servers where an ordinary user's PATH may not lead.
    path = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"NOT TESTED: {name} is not installed, so {what_is_not_tried} was not tried")
    return path


def nginx_command(nginx: str, directory: Path, http: str) -> list[str]:
    """The command that runs nginx in `directory` with `http` in that block of its configuration, which is checked."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{kind}_temp_path {directory}/{kind};\n" for kind in kinds)
    (directory / "nginx.conf").write_text(
        f"daemon off;\nmaster_process off;\npid {directory}/nginx.pid;\nerror_log stderr notice;\nevents {{}}\n"
        f"http {{\n{temporary}{http}\n}}\n"
    )
    command = [nginx, "-e", "stderr", "-p", str(directory), "-c", str(directory / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr
    return command


@contextlib.contextmanager
def running_server(command: list[str], directory: Path) -> Iterator[list[str]]:
    """What the program writes to its standard error, line by line while it runs."""
    said: list[str] = []
    home = dict.fromkeys(("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(directory))
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ) | home) as process:
        assert process.stderr is not None
        reader = threading.Thread(target=collections.deque, args=(map(said.append, process.stderr), 0), daemon=True)
        reader.start()
        try:
            yield said
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)
            reader.join(_STOP_SECONDS)
