"""What every service of Cohort Gateway stands on: settings, errors, logs, the connection to the store, serving."""
