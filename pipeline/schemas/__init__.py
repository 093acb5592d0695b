"""Every Parquet dataset, declared once, a module per dataset: a pyarrow schema with a sentence per column.

Writers cast to these (`pipeline.parquet.write`), gates and docs are generated from them, readers may rely on them.
Identity: a post is `(post_id, change_seq)`, an image is its `md5`. After `sample`, labels are ids into the vocabulary.
"""
