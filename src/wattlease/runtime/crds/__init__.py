"""The custom resource definitions, written from the models: `python -m wattlease.runtime.crds [--check] crds/`."""
