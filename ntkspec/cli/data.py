"""The options that say which data are measured, and the data set of them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from ntkspec.cli.options import MaybeWhole, or_else

if TYPE_CHECKING:
    from ntkspec.datasets import Dataset

IMAGES = ("mnist", "cifar10")
SYNTHETIC = ("gaussian", "rademacher", "sphere", "subgaussian")
# Options of files alone.
OF_FILES = ("label", "points", "test_points", "test_label", "keep_ids", "keep_constant", "channels")


@Parameter(name="*")
@dataclass(frozen=True)
class DataOptions:
    """Which data, and how much of them."""

    data: str = "gaussian"
    "gaussian, rademacher, sphere, subgaussian, mnist, cifar10, or a file of points and labels: a table, .npz, .h5, ..."
    n: MaybeWhole = None
    "training points, a random subset of real data (default: synthetic 20000, real data all)"
    d: MaybeWhole = None
    "dimension of synthetic data (default: 50)"
    n_test: MaybeWhole = None
    "test points (default: synthetic 2000, real data all; of a file without test points a tenth is held out)"
    target: Literal["teacher", "norm", "random"] | None = None
    """labels of synthetic data: sign of a width-5 erf network, ||x||/sqrt d + ReLU(a.x), or random signs
    (default: teacher)"""
    classes: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """two classes of mnist, cifar10 or a file, labelled +1 and -1; more, or all: a column for each, as K outputs
    (default: labels as they are, ten classes as numbers)"""
    pool: MaybeWhole = None
    "average the images of mnist or cifar10 over POOL x POOL patches (default: 1)"
    data_dir: Path | None = None
    "folder of mnist or cifar10 (default: the environment variable NTKSPEC_DATA)"
    label: str | None = None
    "labels of a file: the name or number of a column, or the name of an array (default: found by the usual names)"
    points: str | None = None
    "name of the array of points in a file, such as train/X in HDF5 (default: found by the usual names)"
    test_points: str | None = None
    "name of the array of test points (default: found by the usual names)"
    test_label: str | None = None
    "name of the array of test labels (default: found by the usual names)"
    keep_ids: bool = False
    "keep indexes and ids of a table as features"
    keep_constant: bool = False
    "keep constant features of a file as zero columns instead of refusing them"
    channels: Literal["first", "last"] | None = None
    "where images of a file have their channels (default: found by the sizes)"
    center: Annotated[bool, Parameter(negative="--no-center")] = True
    "subtract the training mean of mnist, cifar10 or a file"
    standardize: bool = False
    "divide each feature of mnist, cifar10 or a file by its standard deviation"
    dtype: Literal["float32", "float64"] = "float32"
    "precision of data and network (one of your own computes in its own)"


def dataset_of(options: DataOptions, seed: int, *, as_they_are: bool = False) -> "Dataset":
    """The data set of the options. Raises ValueError or OSError in one line for what it does not have.

    as_they_are : points of a file are neither centred nor scaled, and columns that are constant stay.
    """
    from ntkspec import datasets

    arguments: dict[str, Any] = {"n": options.n, "n_test": options.n_test, "seed": seed, "dtype": options.dtype}
    if options.data in SYNTHETIC:
        _refuse(options, "classes", "pool", "data_dir", "center", "standardize", *OF_FILES)
        arguments |= {
            "n": or_else(options.n, 20000),
            "d": or_else(options.d, 50),
            "n_test": or_else(options.n_test, 2000),
        }
        return getattr(datasets, options.data)(**arguments, target=options.target or "teacher")
    if options.data not in IMAGES and not Path(options.data).suffix and not Path(options.data).is_dir():
        known = ", ".join((*SYNTHETIC, *IMAGES))
        raise ValueError(f"--data {options.data} is unknown; use {known}, or a file, such as points.npz or table.csv")
    _refuse(options, "d", "target")
    arguments |= {"classes": options.classes, "center": options.center, "standardize": options.standardize}
    if options.data in IMAGES:
        _refuse(options, *OF_FILES)
        where: dict[str, Any] = {"pool": or_else(options.pool, 1), "data_dir": options.data_dir}
        return getattr(datasets, options.data)(**arguments, **where)
    _refuse(options, "pool", "data_dir")
    arguments |= {name: getattr(options, name) for name in OF_FILES}
    if as_they_are:
        arguments |= {"center": False, "scale": False, "keep_constant": True}
    return datasets.load(options.data, **arguments)


def _refuse(options: DataOptions, *names: str) -> None:
    """Options that this kind of data does not have."""
    for name in names:
        if getattr(options, name) != getattr(DataOptions, name):
            given = "no-center" if name == "center" else name.replace("_", "-")
            only = "; it is for mnist and cifar10" if name in ("pool", "data_dir") else ""
            raise ValueError(f"--{given} does not go with --data {options.data}{only}")
