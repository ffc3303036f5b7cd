"""Who may come into a group's folder, as the file system keeps it."""
