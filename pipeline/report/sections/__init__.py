"""The sections of the page: one module and one template of the same name each.

A module is a `section.Section`. `pipeline/report/render.py` lists them in order.
"""
