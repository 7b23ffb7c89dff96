"""The real Node SDK, asked for many decisions in one process."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any, Self

from tests.node.node_sdk import HERE, install_packages

if TYPE_CHECKING:
    from types import TracebackType


class NodeSdk:
    """A context manager. `decide` takes a job as `tests/node/decisions.cjs` describes it and gives its answer."""

    def __enter__(self) -> Self:
        install_packages()
        self._process = subprocess.Popen(
            ["node", str(HERE / "decisions.cjs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def decide(self, job: dict[str, Any]) -> dict[str, Any]:
        self.send(job)
        return self.receive()

    def send(self, job: dict[str, Any]) -> None:
        """Hand over a job; the answers come in the same order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the Node driver ended"
        answer: dict[str, Any] = json.loads(line)
        return answer
