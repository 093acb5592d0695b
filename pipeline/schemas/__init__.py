"""Every Parquet table, declared once: a pyarrow schema with a sentence per column.

There is a module per dataset, and `reasons` for what columns of reasons may hold.
Writers cast to these schemas (`pipeline.parquet.write`), gates and docs are generated
from them, readers may rely on them. Identity: a post is `(post_id, change_seq)`, an
image is its `md5`. After `sample`, labels are ids into the vocabulary.
"""
