"""Trained weights that come with the package: small ones."""

from __future__ import annotations

from pathlib import Path

_FILES = {"digits": "lenet5_digits.npz"}


def packaged_weights(name: str) -> Path:
    """Return the file with the weights of this name, as `fastconv.weights.load` reads it.

    Parameters
    ----------
    name : str
        ``"digits"``: `lenet5`, trained on two thirds of scikit-learn's digits by
        ``examples/train_lenet5.py``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    ValueError
        If there are no weights of that name; the message lists those that exist.

    Examples
    --------
    >>> from fastconv.models._packaged import packaged_weights
    >>> packaged_weights("digits").name
    'lenet5_digits.npz'
    """
    if name not in _FILES:
        raise ValueError(
            f"the package has no weights named {name!r}; it has: {', '.join(sorted(_FILES))}"
        )
    return Path(__file__).parent / "data" / _FILES[name]
