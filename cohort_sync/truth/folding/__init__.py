"""Folding: old pages go into the base in rounds, by a child process that reads, and the one thread that writes."""

from cohort_sync.truth.folding.folder import Folder, FoldReport
from cohort_sync.truth.folding.rounds import FoldRules

__all__ = ["FoldReport", "FoldRules", "Folder"]
