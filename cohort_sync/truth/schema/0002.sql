-- What folding needs. A round takes tasks into the base, partition by partition; a page of a task is in a partition where
-- the task's round is not above the partition's and the page's version is not above the partition's.

ALTER TABLE lists ADD COLUMN base_changes INTEGER NOT NULL DEFAULT 0;  -- counts changes of base and rounds: the state is the same
ALTER TABLE tasks ADD COLUMN round INTEGER NOT NULL DEFAULT 0;         -- the first round that took it; 0: none yet
ALTER TABLE bases ADD COLUMN round INTEGER NOT NULL DEFAULT 0;         -- the last round that it went through
ALTER TABLE bases ADD COLUMN version INTEGER NOT NULL DEFAULT 0;       -- of the list, as it was read for that
