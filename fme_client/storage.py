"""The application's own memory of decisions, so that a user keeps what was once decided."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from fme_client.reading import Wrong, kind_of

if TYPE_CHECKING:
    from fme_client.logs import Log


@runtime_checkable
class Storage(Protocol):
    """What the option `storage` must be. Both run in the thread of the caller, as long as they take."""

    def get(self, feature_key: str, user_id: str) -> Mapping[str, Any] | None:
        """What was stored for this flag and user; empty, or None, where there is nothing."""

    def set(self, data: dict[str, Any]) -> object:
        """Keep `data`: `featureKey`, `userId`, and what was decided, None where nothing was.

        That is `rolloutId`, `rolloutKey`, `rolloutVariationId`, `experimentId`, `experimentKey`,
        `experimentVariationId`.
        """


class KeptDecisions:
    """A storage whose failures are logged and cost nothing else."""

    def __init__(self, storage: Storage, log: Log) -> None:
        self._storage = storage
        self._log = log

    def get(self, feature_key: str, user_id: str) -> Mapping[str, Any]:
        try:
            found = self._storage.get(feature_key, user_id)
        except Exception as error:  # noqa: BLE001 - the application's code, which may raise anything
            self._log.complain("storage_get", f"storage.get raised {kind_of(error)}: decided as if nothing was stored")
            return {}
        return found if isinstance(found, Mapping) else {}

    def set(self, data: dict[str, Any]) -> None:
        try:
            self._storage.set(data)
        except Exception as error:  # noqa: BLE001 - as above
            self._log.complain("storage_set", f"storage.set raised {kind_of(error)}: the decision is not stored")


def read_storage(value: object) -> Storage:
    """A storage, or its class. Raises `Wrong`."""
    made = value() if inspect.isclass(value) else value
    if not (callable(getattr(made, "get", None)) and callable(getattr(made, "set", None))):
        raise Wrong("must be an object with get(feature_key, user_id) and set(data)")
    return cast("Storage", made)
