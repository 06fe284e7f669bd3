"""Which feature feeds which input of the model: the convention people waste days on, settled before the first step.

A layer called XYZ that opens a Sequential model makes an input called `XYZ_input`; a functional `Input(name="XYZ")`
makes `XYZ`. `model.input_names` is the truth; features are matched to it, never the other way round. No tensors here:
a spec is a pair (dtype name, shape without the batch dimension).
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence

from trainer.job.errors import DataError

Shape = tuple[int | None, ...]
Spec = tuple[str, Shape]
SUFFIX = "_input"
NUMBERS = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64")


def map_inputs(
    inputs: Mapping[str, Spec], features: Mapping[str, Spec], feature_map: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Input name -> the features that feed it; more than one are put side by side, in that order.

    Raises:
      DataError: an input finds no feature, or one of another dtype or width; the sentence lists both sides and
        proposes a --feature-map.
    """
    _check_feature_map(inputs, features, feature_map)
    mapped = {
        name: tuple(feature_map[name]) if name in feature_map else _match(name, spec, features, inputs)
        for name, spec in inputs.items()
    }
    missed = [name for name, found in mapped.items() if not found]
    if missed:
        raise DataError(_mismatch(missed, inputs, features))
    for name, found in mapped.items():
        _check_fit(name, inputs[name], {feature: features[feature] for feature in found})
    return mapped


def base_name(name: str) -> str:
    """The layer's name behind an input's: `tokens` for `tokens_input`."""
    return name.removesuffix(SUFFIX)


def _match(name: str, spec: Spec, features: Mapping[str, Spec], inputs: Mapping[str, Spec]) -> tuple[str, ...]:
    only = len(inputs) == 1
    for candidate in (name, base_name(name)):
        if candidate in features:
            return (candidate,)
        numbered = tuple(f"{candidate}_{index}" for index in range(width_of(spec[1]) or 0))
        if numbered and all(each in features for each in numbered):
            _refuse_more(name, candidate, numbered, features, inputs)
            return numbered
    if only and len(features) == 1:
        return tuple(features)
    scalar = all(not shape and dtype in NUMBERS for dtype, shape in features.values())
    if only and features and scalar and width_of(spec[1]) == len(features):
        return tuple(features)
    return ()


def _refuse_more(
    name: str, stem: str, numbered: Sequence[str], features: Mapping[str, Spec], inputs: Mapping[str, Spec]
) -> None:
    """Taking the first columns of many would train, and well enough for nobody to notice."""
    following = f"{stem}_{len(numbered)}"
    if following in features and following not in inputs:
        count = sum(feature.removeprefix(f"{stem}_").isdigit() for feature in features)
        raise DataError(
            f"the model's input {name} takes {len(numbered)} numbers in each row but the data has {count}, {stem}_0, "
            f"{stem}_1, ...: change the model's input shape, or name those that are meant with "
            f"--feature-map={name}=COLUMN+COLUMN."
        )


def width_of(shape: Shape) -> int | None:
    """How many numbers a row of this shape takes; None where that is open."""
    return None if None in shape else math.prod(size or 0 for size in shape)


def _check_feature_map(
    inputs: Mapping[str, Spec], features: Mapping[str, Spec], feature_map: Mapping[str, Sequence[str]]
) -> None:
    for name, columns in feature_map.items():
        given = f"--feature-map={name}={'+'.join(columns)}"
        if name not in inputs:
            raise DataError(f"{given}: the model has no input {name}; its inputs are {_listed(inputs)}.")
        for column in columns:
            if columns.count(column) > 1:
                raise DataError(f"{given}: {column} stands there twice: name each column once.")
            if column not in features:
                raise DataError(f"{given}: there is no feature {column}; the features are {_listed(features)}.")


def _check_fit(name: str, wanted: Spec, found: Mapping[str, Spec]) -> None:
    dtype, shape = wanted
    for feature, (given, given_shape) in found.items():
        if (dtype == "string") != (given == "string") or ("float" in given and "int" in dtype):
            raise DataError(
                f"the model's input {name} takes {dtype} but the feature {feature} is {given}: convert it in "
                f"preprocess, or feed another column with --feature-map={name}=COLUMN."
            )
        if len(found) > 1 and given_shape:
            raise DataError(f"--feature-map={name}={'+'.join(found)}: {feature} is not a single number in each row.")
    rows = next(iter(found.values()))[1]
    if len(found) == 1 and rows:
        same_rank = len(rows) == len(shape)
        fits = same_rank and all(a in (None, b) or b is None for a, b in zip(rows, shape, strict=True))
        fits = fits or (len(rows) == 1 and rows[0] is not None and rows[0] == width_of(shape))  # a flat list
    else:
        fits = width_of(shape) == len(found) or shape == (None,)
    if not fits:
        raise DataError(
            f"the model's input {name} has the shape {_shown(shape)} in each row but {_listed(found)} gives "
            f"{_shown(rows if len(found) == 1 else (len(found),))}: change the model's input shape, or name the "
            f"columns with --feature-map={name}=COLUMN+COLUMN."
        )


def _mismatch(missed: Sequence[str], inputs: Mapping[str, Spec], features: Mapping[str, Spec]) -> str:
    unused = [feature for feature in features if feature not in inputs] or list(features)
    proposals = []
    for name in missed:
        close = difflib.get_close_matches(base_name(name), unused, n=1, cutoff=0.0)
        proposals.append(f"{name}={close[0] if close else 'COLUMN'}")
    return (
        f"nothing feeds the model's input {_listed(missed)}: its inputs are {_listed(inputs)}, the features are "
        f"{_listed(features)}; name columns after the inputs, or try --feature-map {' '.join(proposals)}"
    )


def _listed(names: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(names) or "none"


def _shown(shape: Shape) -> str:
    return (
        "(" + ", ".join("any" if size is None else str(size) for size in shape) + ("," if len(shape) == 1 else "") + ")"
    )
