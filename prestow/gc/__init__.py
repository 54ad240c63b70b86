"""What goes, what stays, and why: garbage collection, retention, and the reasons of both."""
