"""How files are opened that others may have put there: never handed on, no link followed, no pipe waited for.

A ``KNOWN`` place is one that was looked up or made by us: a link there is meant.
"""

import os

KNOWN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
KNOWN_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
DIRECTORY = KNOWN_DIRECTORY | os.O_NOFOLLOW
FILE = KNOWN_FILE | os.O_NOFOLLOW
NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
PATH_ONLY = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
