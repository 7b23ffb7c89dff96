-- Places are Unix milliseconds on Heap's clock with a tie-break (cohort_sync.truth.order.Place); times that only people
-- read (`..._at`) are Unix milliseconds on this machine's clock.

CREATE TABLE installation (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    id TEXT NOT NULL,                          -- names this database; what is projected bears it, `restore` renews it
    tag_key BLOB NOT NULL,                     -- key of the hashes of erased persons
    erasure INTEGER NOT NULL DEFAULT 0,        -- number of the newest erasure
    registry INTEGER NOT NULL DEFAULT 0,       -- counts the changes of lists, aliases and connections
    created_at INTEGER NOT NULL
);

CREATE TABLE lists (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    name TEXT NOT NULL,                        -- the list id of rules; it belongs to the segment for good
    source TEXT NOT NULL,
    segment_id TEXT NOT NULL,
    segment_name TEXT NOT NULL,                -- a label: the last one that was sent
    mode TEXT NOT NULL DEFAULT 'delta',        -- of tasks that begin from now on
    is_active INTEGER NOT NULL,
    is_deleted INTEGER NOT NULL DEFAULT 0,     -- tasks placed later make it again
    deleted_place INTEGER NOT NULL DEFAULT -1, -- of its newest deletion
    newest_place INTEGER NOT NULL DEFAULT -1,  -- the largest place that a task of it ever had
    version INTEGER NOT NULL DEFAULT 0,        -- number of its newest fact
    chain BLOB NOT NULL DEFAULT x'',           -- digest of all its facts, 8 bytes
    created_at INTEGER NOT NULL,
    last_page_at INTEGER,
    tasks INTEGER NOT NULL DEFAULT 0,          -- how many syncs there were, and whom their pages named
    added INTEGER NOT NULL DEFAULT 0,
    removed INTEGER NOT NULL DEFAULT 0,
    skipped INTEGER NOT NULL DEFAULT 0,
    UNIQUE (account, name),
    UNIQUE (account, source, segment_id)
);

CREATE TABLE aliases (
    account TEXT NOT NULL,
    alias TEXT NOT NULL,
    list INTEGER NOT NULL REFERENCES lists,
    PRIMARY KEY (account, alias)
);
CREATE INDEX aliases_by_list ON aliases (list);

-- A drain, a deletion and an import are tasks, too; a drain and a deletion are snapshots of nobody, complete at once. A
-- row outlives its facts for as long as pages of it are known: its place is in the base by then.
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    list INTEGER NOT NULL REFERENCES lists,
    kind TEXT NOT NULL,                        -- sync, drain, delete, import
    name TEXT NOT NULL,                        -- the sender's; '' for its drains; a growing number for the operator's
    run INTEGER NOT NULL DEFAULT 0,            -- a name may be used again
    mode TEXT NOT NULL,                        -- delta, snapshot
    at INTEGER NOT NULL,                       -- its place: the smallest signed time among its pages
    rank INTEGER NOT NULL,                     -- 0: a sender's, 1: the operator's, after all others of the same time
    newest INTEGER NOT NULL,                   -- the largest signed time among its pages
    total INTEGER NOT NULL,
    pages INTEGER NOT NULL DEFAULT 0,          -- numbers of which a page is here
    adding INTEGER NOT NULL DEFAULT 0,         -- numbers of which a page that does not only remove is here
    state TEXT NOT NULL,                       -- open, complete, held, accepted, refused, given_up; a delta counts in any
    state_at INTEGER NOT NULL,
    last_page_at INTEGER NOT NULL,
    UNIQUE (list, name, rank, run)
);
CREATE INDEX tasks_by_place ON tasks (list, at, rank, name, run);
CREATE INDEX snapshots_undecided ON tasks (state, last_page_at) WHERE mode = 'snapshot' AND state IN ('open', 'held');
CREATE INDEX tasks_by_age ON tasks (last_page_at);

-- What was accepted, in the order in which it was: never changed but by an erasure. A body goes once it is in the base;
-- the row says for 30 days more that this version was ours.
CREATE TABLE facts (
    list INTEGER NOT NULL REFERENCES lists,
    version INTEGER NOT NULL,
    chain BLOB NOT NULL,                       -- digest over the facts up to this one
    kind TEXT NOT NULL,                        -- page, move (of a task, by a page that is known), task (a drain, a
                                               -- deletion), end (of a snapshot or an import), describe (what is shown)
    task INTEGER,
    number INTEGER,
    place INTEGER,                             -- signed time of a page; `at` of the task else
    adds INTEGER NOT NULL DEFAULT 0,           -- as they came, erased persons included
    removes INTEGER NOT NULL DEFAULT 0,
    digest BLOB,                               -- of the page as it came
    body BLOB,                                 -- attribute_lists.bodies.pack
    body_digest BLOB,                          -- of `body`: a damaged one is noticed
    detail TEXT,                               -- JSON of what the other columns have no place for: "moved_from", the
                                               -- place (ms) that the task had before this page or move; "state" of an
                                               -- end, with "live" and "staged" members; what a description changed
    accepted_at INTEGER NOT NULL,
    PRIMARY KEY (list, version)
);
CREATE INDEX facts_by_task ON facts (task, number);
CREATE INDEX facts_by_age ON facts (accepted_at) WHERE body IS NULL;

-- Pages that are known, for 30 days.
CREATE TABLE repeats (
    list INTEGER NOT NULL,
    name BLOB NOT NULL,                        -- the sender's name of the page ("n...") or its digest ("d...")
    task INTEGER NOT NULL,                     -- the run that it belongs to
    accepted_at INTEGER NOT NULL,
    PRIMARY KEY (list, name, task)
) WITHOUT ROWID;
CREATE INDEX repeats_by_age ON repeats (accepted_at);
CREATE INDEX repeats_by_task ON repeats (task);

CREATE TABLE bases (
    list INTEGER NOT NULL REFERENCES lists,
    partition INTEGER NOT NULL,
    partitions INTEGER NOT NULL,               -- of how many: a power of two
    at INTEGER NOT NULL,                       -- the place up to which tasks are in it
    rank INTEGER NOT NULL,
    task TEXT NOT NULL,
    run INTEGER NOT NULL,
    members INTEGER NOT NULL,
    body BLOB NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (list, partition)
);
CREATE INDEX bases_by_place ON bases (list, at);

CREATE TABLE erasures (
    number INTEGER PRIMARY KEY,
    tag BLOB NOT NULL,                         -- keyed hash of the person's id
    at INTEGER NOT NULL,                       -- place: pages placed before it never bring the person back
    person BLOB,                               -- the id, until everything is rewritten
    finished_at INTEGER,
    requested_at INTEGER NOT NULL
);
CREATE INDEX erasures_by_tag ON erasures (tag, at);
CREATE INDEX erasures_by_place ON erasures (at);

-- Lists whose set in Redis was never written by this database, until an operator decides.
CREATE TABLE stores_ahead (
    list INTEGER PRIMARY KEY REFERENCES lists,
    version TEXT NOT NULL,
    noticed_at INTEGER NOT NULL
);

-- Which account is connected to which environment of a sender.
CREATE TABLE connections (
    account TEXT PRIMARY KEY,
    id_token_tag BLOB NOT NULL UNIQUE,         -- keyed hash of the id token, which pushes name the account by
    env_id TEXT NOT NULL UNIQUE,
    detail TEXT NOT NULL,                      -- JSON of what people are shown
    connected_at INTEGER NOT NULL
);

CREATE TABLE audit (
    id INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    account TEXT NOT NULL,
    list TEXT NOT NULL,
    detail TEXT NOT NULL
);
