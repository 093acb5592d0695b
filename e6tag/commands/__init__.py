"""The commands of e6tag, a module each.

They import nothing heavy at the top, only inside functions, and raise E6tagError for
what the user can fix: e6tag.cli prints it.
"""
