"""Maps the folder configs/ to the package medtrain.configs; everything else is in pyproject.toml."""

from setuptools import find_namespace_packages, find_packages, setup

configs = ["medtrain.configs"] + [f"medtrain.configs.{name}" for name in find_namespace_packages("configs")]

setup(
    packages=find_packages(include=["medtrain", "medtrain.*"]) + configs,
    package_dir={"medtrain.configs": "configs"},
    package_data={
        "": ["*.yaml"],
        "medtrain.export": ["*.json"],
        "medtrain.report": ["*.css", "*.js", "templates/*.j2"],
    },
)
