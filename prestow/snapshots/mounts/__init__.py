"""Mounts: by system call, as the kernel's table tells them, shared by many."""
