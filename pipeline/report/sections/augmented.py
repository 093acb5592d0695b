"""Section: a batch of training images as the model sees them."""

from pipeline.report.sections.section import PageData, Values

TITLE = "What the model sees in training"
LINK = "Training images"

MAX_TAGS = 8  # named per image


def build(data: PageData) -> Values:
    """Returns the batch, and what the augmentation does to it."""
    batch = data.training_batch.result()
    return {"batch": batch, "max_tags": MAX_TAGS}
