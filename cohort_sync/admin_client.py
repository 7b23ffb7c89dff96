"""The admin API as the command line uses it."""

from __future__ import annotations

import getpass
import json
from typing import TYPE_CHECKING, Any

import httpx

from foundation.errors import CohortGatewayError, ConfigurationError, NoAnswerError, UnavailableError
from foundation.http_client import fetch
from foundation.serving import reachable_host
from foundation.settings import MEBIBYTE

if TYPE_CHECKING:
    from cohort_sync.settings import CohortSyncSettings

_SILENT_SECONDS, _WHOLE_SECONDS = 60.0, 120.0
_LARGEST_ANSWER = 64 * MEBIBYTE  # some ten thousand lists, described


class AdminClient:
    """Calls the running cohort-sync. Raises `UnavailableError` when none runs, and its refusals with their reasons."""

    def __init__(self, settings: CohortSyncSettings) -> None:
        host = reachable_host(settings.cohort_sync_admin_host)
        self._settings = settings
        self._address = f"http://{host}:{settings.cohort_sync_admin_port}"
        self._headers = {
            "Authorization": f"Bearer {settings.administration_token()}",
            "X-Operator": _user(),
            "Accept": "application/json",
        }

    def account_or_default(self, account: str | None) -> str:
        """`account`, or the default account: what our own settings say, else what the running cohort-sync says."""
        if account is not None:
            return account
        try:
            return self._settings.default_account
        except ConfigurationError:
            return str(self.get("/installation")["default_account"])

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def patch(self, path: str, body: dict[str, Any]) -> Any:
        return self._call("PATCH", path, json=body)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        return self._call("POST", path, json=body or {})

    def connect_address(self, account: str) -> str:
        """Where an operator's browser starts connecting a Heap environment to `account`."""
        answer = self._call("GET", "/connect/heap", root="", params={"account": account})
        return str(answer["authorize_url"])

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, *, root: str = "/admin/api/v1", **options: Any) -> Any:
        address = f"{self._address}{root}{path}"
        try:
            answer = fetch(
                method,
                address,
                silence=_SILENT_SECONDS,
                whole=_WHOLE_SECONDS,
                most=_LARGEST_ANSWER,
                headers=self._headers,
                **options,
            )
        except NoAnswerError as error:
            raise UnavailableError(
                f"no answer of cohort-sync at {self._address}: {error}; start it with scripts/serve or "
                "`cohort-sync serve`; COHORT_SYNC_ADMIN_HOST and COHORT_SYNC_ADMIN_PORT say where it is"
            ) from None
        try:
            found = json.loads(answer.body)
            if httpx.codes.is_success(answer.status):
                return found
            message, reason = found["error"], found["reason"]
        except (ValueError, RecursionError, KeyError, TypeError):
            message, reason = f"no cohort-sync answers at {self._address} ({answer.status})", "unexpected_answer"
        raise CohortGatewayError(message, reason=reason)


def _user() -> str:
    try:
        return getpass.getuser().encode("ascii", "replace").decode()
    except (KeyError, OSError):  # a container's user need not have a name
        return "cli"
