"""What is computed of a split, one evaluator per module.

Each yields (name, metric) pairs and gives its columns of per_tag.parquet.
"""
