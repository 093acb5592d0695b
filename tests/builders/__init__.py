"""What tests build on: projects, hand-written tables, toy shards."""
