"""The `kerbstone` command: the only place that composes the rooms into running systems.

Here: argument parsing, progress display, exit codes, and the demo's and the tests' supervision of
processes. Not here: anything a process does once it runs.
"""
