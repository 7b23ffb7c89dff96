"""Lists of members in Redis: apply changes, answer membership, describe lists.

The only place that writes Redis commands for lists.
"""
