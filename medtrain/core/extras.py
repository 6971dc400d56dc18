"""Packages that not every user needs: imported when they are wanted, named with their pip command where they lack."""

from __future__ import annotations

import importlib
from types import ModuleType

from medtrain.core.errors import UsageError

EXTRAS = {
    **dict.fromkeys(("openslide", "tifffile", "imagecodecs", "h5py"), "medtrain[slides]"),
    **dict.fromkeys(("openpyxl", "pyarrow"), "medtrain[tables]"),
    **dict.fromkeys(("onnx", "onnxscript", "onnxruntime", "jsonschema"), "medtrain[export]"),
    "timm": "medtrain[timm]",
    "highdicom": "medtrain[dicomseg]",
    "SimpleITK": "medtrain[itk]",
    "wandb": "medtrain[wandb]",
    "mlflow": "medtrain[mlflow]",
    **dict.fromkeys(("optuna", "cmaes"), "medtrain[tune]"),
}
"""{module: what pip installs for it}; of others the module's own name."""


def pip_command(module: str) -> str:
    """Write the command that installs a package; quotes keep the brackets from the shell."""
    wanted = EXTRAS.get(module, module.partition(".")[0])
    return f"pip install '{wanted}'" if "[" in wanted else f"pip install {wanted}"


def needs(purpose: str, module: str, error: ImportError | None = None) -> UsageError:
    """Make the error that says what a purpose needs and how to get it.

    Args:
        purpose: the beginning of the sentence, such as ``reading slides``.
        module: the package, by the name under which it is imported.
        error: of its import, which may say more (a library of the system that it lacks).
    """
    detail = f" ({error})" if error is not None else ""
    return UsageError(f"{purpose} needs {module}, which is not installed: {pip_command(module)}{detail}")


def extra(module: str, purpose: str) -> ModuleType:
    """Import a package that may lack.

    Raises:
        UsageError: it does; see `needs`.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise needs(purpose, module, error) from error
