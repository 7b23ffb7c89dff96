-- Each change of the registry by a token of its own, so that what another history made of it is told apart: of two copies
-- of a database that went on separately, both count on from the same number.

CREATE TABLE registry_changes (
    number INTEGER PRIMARY KEY,
    token BLOB NOT NULL                        -- at random, 8 bytes
);
