"""What `get_flag` answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


class Flag:
    """A flag as it was decided for one user; it never changes. True in an `if` where it is on."""

    __slots__ = ("_enabled", "_variables")

    def __init__(self, *, enabled: bool = False, variables: Sequence[dict[str, Any]] = ()) -> None:
        self._enabled = enabled
        self._variables = variables

    def is_enabled(self) -> bool:
        return self._enabled

    def get_variable(self, key: str, default: Any = None) -> Any:
        """The value of a variable; `default` where the flag has no such variable, or is off."""
        return next((variable["value"] for variable in self._variables if variable["key"] == key), default)

    def get_variables(self) -> list[dict[str, Any]]:
        """All variables, each with `id`, `key`, `type` and `value`."""
        return [dict(variable) for variable in self._variables]

    def __bool__(self) -> bool:
        return self._enabled

    def __repr__(self) -> str:
        return f"Flag(enabled={self._enabled}, variables={[variable['key'] for variable in self._variables]})"

    # The Node SDK's spellings.
    isEnabled = is_enabled  # noqa: N815
    getVariable = get_variable  # noqa: N815
    getVariables = get_variables  # noqa: N815
