"""The state of lists, read from the database: what the projection asks of the truth."""

from cohort_sync.truth.state.database_truth import DatabaseTruth, Reads

__all__ = ["DatabaseTruth", "Reads"]
