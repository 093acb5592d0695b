"""`python -m pipeline STAGE`, as dvc.yaml runs the stages."""

from e6tag.cli import main

if __name__ == "__main__":
    main("python -m pipeline")
