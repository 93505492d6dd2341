"""The code of each stage, as digests: a stage runs again where the installed code that gives its result has changed."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import yaml

import cxrflow
from cxrflow.files import code_digest, digest

#: What trains, loads and uses a bundle.
_MODEL = (
    "bundle.py",
    "bundle_files.py",
    "bundle_networks.py",
    "dataset.py",
    "models",
    "network.py",
    "onnx_file.py",
    "predictor.py",
    "records.py",
    "statistics",
    "task.py",
)
#: Files and folders of the package that decide what a stage writes; without what only checks, shows progress or starts
#: the work.
CODE: dict[str, tuple[str, ...]] = {
    "demo": ("synthetic",),
    "metadata": (
        "columns.py",
        "csv_files.py",
        "engines.py",
        "files.py",
        "findings.py",
        "folders.py",
        "metadata",
        "reading",
        "records.py",
        "sources",
        "task.py",
        "text.py",
        "workers.py",
        "yaml_files.py",
    ),
    "images": (
        "engines.py",
        "files.py",
        "images",
        "lungs",
        "reading",
        "records.py",
        "task.py",
        "workers.py",
    ),
    "training": (
        *_MODEL,
        "far.py",
        "folds.py",
        "evaluation/conformal.py",
        "evaluation/far.py",
        "evaluation/ledger.py",
        "evaluation/metrics.py",
        "evaluation/operating.py",
        "exporting",
        "images/registry.py",
        "images/steps.py",
        "lungs",
        "metadata/groups.py",
        "model_card.md",
        "model_card.py",
        "passport.py",
        "reading/__init__.py",
        "reading/frontal.onnx",
        "reading/frontal.py",
        "training",
    ),
    "evaluation": (
        *_MODEL,
        "far.py",
        "folds.py",
        "evaluation",
        "metadata/groups.py",
        "model_card.md",
        "model_card.py",
        "passport.py",
    ),
    "explanation": (
        *_MODEL,
        "evaluation/predictions.py",
        "explanation",
        "findings.py",
        "images/steps.py",
    ),
    "audit": (
        *_MODEL,
        "audit",
        "folds.py",
        "evaluation",
        "explanation",
        "findings.py",
        "images/steps.py",
        "lungs",
        "metadata/groups.py",
        "passport.py",
        "training",
    ),
    "report": (
        "audit/verdicts.py",
        "audit/words.py",
        "bundle.py",
        "bundle_files.py",
        "bundle_networks.py",
        "csv_files.py",
        "evaluation",
        "images",
        "metadata/overlap.py",
        "model_card.py",
        "params.py",
        "params_file.py",
        "passport.py",
        "records.py",
        "report",
        "statistics",
        "task.py",
    ),
}


def code_yaml(plugins: Mapping[str, str] = MappingProxyType({})) -> str:
    """The version of cxrflow, and for each stage the digest of its code (SHA-256, hexadecimal), as YAML.

    plugins  for each stage the digest of the code of others that it uses, empty if none (``parts.plugin_digests``)
    """
    package = Path(cxrflow.__file__).parent
    stages = {stage: code_digest(package, parts) for stage, parts in CODE.items()}
    stages = {stage: digest([code, plugins[stage]]) if plugins.get(stage) else code for stage, code in stages.items()}
    return yaml.safe_dump({"version": cxrflow.__version__} | stages, sort_keys=False)
