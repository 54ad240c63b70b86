"""Whether what is stored of images is still what it was, and names, rows and the disk agree; and making it right."""
