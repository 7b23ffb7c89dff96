"""Archives: one file that holds lists whole, to carry them elsewhere, and to build a lost store again.

Written and read beside everything else, in bounded memory, on a single server or a cluster.
"""

from __future__ import annotations

from attribute_lists.archive.claims import Existing
from attribute_lists.archive.contents import Progress, Summary, inspect_archive
from attribute_lists.archive.erasing import erase_from_archive
from attribute_lists.archive.reading import read_archive
from attribute_lists.archive.writing import write_archive

__all__ = ["Existing", "Progress", "Summary", "erase_from_archive", "inspect_archive", "read_archive", "write_archive"]
