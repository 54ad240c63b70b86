"""Metadata images: a merged tree as an EROFS file system whose data lies in the layers' tars."""
