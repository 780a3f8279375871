"""The planted mistakes, a module for each group of tasks.

Each module holds the right program line by line, and beside it the mistakes: the
lines that are wrong. To add one, add a `mistake(...)` to the list of its task.
"""
