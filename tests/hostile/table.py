"""The table: every hostile layer, by the rows of part A."""

from tests.hostile.attributes import TYPES, XATTRS
from tests.hostile.case import Case
from tests.hostile.compression import COMPRESSION
from tests.hostile.grammar import EXTENSIONS, MEMBERS, SPARSE
from tests.hostile.links import LINKS, WHITEOUTS
from tests.hostile.names import NAMES, SYMLINKS

CASES: tuple[Case, ...] = (
    *NAMES, *SYMLINKS, *LINKS, *WHITEOUTS, *TYPES, *XATTRS, *EXTENSIONS, *MEMBERS, *SPARSE, *COMPRESSION,
)  # fmt: skip
