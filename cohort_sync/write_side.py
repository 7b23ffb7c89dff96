"""What the two applications ask of the write side, whichever keeps the lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attribute_lists.describe import ListDescription
    from attribute_lists.order import Mode
    from cohort_sync.connect_flow import ConnectFlow
    from cohort_sync.intake import Verified
    from cohort_sync.metrics import Metrics
    from cohort_sync.settings import CohortSyncSettings
    from foundation.store import Store

ListName = tuple[str, str]  # account, list id


class Administration(Protocol):
    """Lists as operators see and change them. Methods may raise the store's errors and `UnavailableError`."""

    @property
    def lost(self) -> Sequence[str]:
        """Lists that the store lost and that could not be restored."""

    async def describe_all(self) -> Sequence[ListDescription]: ...

    async def describe(self, name: ListName) -> ListDescription: ...

    async def resolve(self, account: str, name: str) -> ListName:
        """The list that `name`, an id or an alias, means. Raises `NotFoundError`."""

    async def newest_changes(self, count: int) -> list[dict[str, str]]:
        """The audit, newest first: `at` (Unix milliseconds), `who`, `what`, `account`, `list` and details."""

    async def set_active(self, name: ListName, active: bool, *, actor: str) -> None: ...

    async def set_aliases(self, name: ListName, aliases: list[str], *, actor: str) -> None:
        """Raises `ConflictError` for one that names another list."""

    async def set_mode(self, name: ListName, mode: Mode, *, actor: str) -> None: ...

    async def accept(self, name: ListName, *, actor: str) -> None:
        """Let a held snapshot go live. Raises `NotFoundError` when none waits."""

    async def drain(self, name: ListName, *, actor: str) -> int:
        """Empty the list; how many members left."""

    async def delete(self, name: ListName, *, actor: str) -> None: ...

    async def erase(self, member: str, *, actor: str) -> dict[str, Any]:
        """Take a person out of everything; the receipt."""


class WriteSide(Protocol):
    """A receiver. `clock_is_doubtful`: the last push was rightly signed and refused for its time."""

    settings: CohortSyncSettings
    store: Store
    metrics: Metrics
    secrets: list[bytes]
    admin_token: str
    clock_is_doubtful: bool
    connecting: ConnectFlow

    @property
    def administration(self) -> Administration: ...

    @property
    def default_account(self) -> str:
        """The account of pushes without `id_token`. Raises `ConfigurationError` when nothing names one."""

    async def take(self, verified: Verified) -> bool:
        """Make a push durable; whether what it changed is in the store already.

        Raises `ForbiddenError` for an unknown `id_token`, and `UnavailableError` where it can't be done now.
        """

    async def reasons_for_concern(self) -> list[str]:
        """What an operator should look at; empty when all is well."""

    async def write_checkpoint(self) -> int:
        """Raises `NotFoundError` where none are kept."""
