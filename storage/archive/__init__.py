"""The whole of a database, or its closed days, in files: backup, restore, export."""
