"""The stages: functions of files to files, in the order that `dvc.yaml` gives. Knows nothing of DVC or Prefect."""
