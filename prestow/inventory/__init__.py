"""The store's own books: whether names, rows and the disk agree, whatever images they are about."""
