"""The tables of `schema/`, for statements of SQLAlchemy Core; what each column holds is said there."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text

METADATA = MetaData()


def _table(name: str, *, integers: str = "", texts: str = "", blobs: str = "", key: str) -> Table:
    """Columns by kind; `key`: names of the primary key, which an insert of one integer may leave out."""
    kinds: dict[str, type[BigInteger | Text | LargeBinary]] = dict.fromkeys(integers.split(), BigInteger)
    kinds |= dict.fromkeys(texts.split(), Text) | dict.fromkeys(blobs.split(), LargeBinary)
    columns = [Column(column, kind, primary_key=column in key.split()) for column, kind in kinds.items()]
    return Table(name, METADATA, *columns)


INSTALLATION = _table(
    "installation",
    integers="only erasure registry created_at",
    texts="id",
    blobs="tag_key",
    key="only",
)

REGISTRY_CHANGES = _table("registry_changes", integers="number", blobs="token", key="number")

LISTS = _table(
    "lists",
    integers="id is_active is_deleted deleted_place newest_place version created_at last_page_at tasks added removed "
    "skipped",
    texts="account name source segment_id segment_name mode",
    blobs="chain",
    key="id",
)

ALIASES = _table("aliases", integers="list", texts="account alias", key="account alias")

TASKS = _table(
    "tasks",
    integers="id list run at rank newest total pages adding state_at last_page_at",
    texts="kind name mode state",
    key="id",
)

FACTS = _table(
    "facts",
    integers="list version task number place adds removes accepted_at",
    texts="kind detail",
    blobs="chain digest body body_digest",
    key="list version",
)

REPEATS = _table("repeats", integers="list task accepted_at", blobs="name", key="list name task")

BASES = _table(
    "bases",
    integers="list partition partitions at rank run members",
    texts="task",
    blobs="body digest",
    key="list partition",
)

ERASURES = _table("erasures", integers="number at finished_at requested_at", blobs="tag person", key="number")

STORES_AHEAD = _table("stores_ahead", integers="list noticed_at", texts="version", key="list")

CONNECTIONS = _table(
    "connections", integers="connected_at", texts="account env_id detail", blobs="id_token_tag", key="account"
)

AUDIT = _table("audit", integers="id at", texts="actor action account list detail", key="id")
