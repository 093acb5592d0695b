"""Section: loss and validation metrics per epoch."""

from pipeline.report import training_plots
from pipeline.report.sections.section import PageData, Values

TITLE = "Training"
LINK = "Training"


def build(data: PageData) -> Values:
    """Returns training.json, and the plots of history.csv."""
    training, history = data.inputs.training, data.inputs.history
    best = int(training["best_epoch"])
    return {
        "training": training,
        "loss_plot": training_plots.loss(history, best),
        "validation_plot": training_plots.validation(history, best),
    }
