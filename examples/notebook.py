# %% [markdown]
# # A sweep from Python: features that are there already, inside a program that uses Ray
#
# The cells of a notebook, as a script: `python examples/notebook.py` runs them all. The features are made by tasks of
# the same Ray cluster that the sweep then works on, as a program would that has an encoder of its own.

# %%
import tempfile
from pathlib import Path

import numpy as np
import ray
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import asvp
from asvp.tune_spaces import Space, strategies

ray.init(ignore_reinit_error=True)


# %% The program's own encoder: here a fixed random layer on the pixels of small digits.
@ray.remote
def encode(images: np.ndarray) -> np.ndarray:
    """(N, 64) pixels to (N, 128) features."""
    weights = np.random.default_rng(0).normal(size=(images.shape[1], 128)) / 8
    return np.maximum(images @ weights, 0).astype(np.float32)


digits = load_digits()
folder = Path(tempfile.mkdtemp())
for name, rows in zip(("pool", "test"), train_test_split(np.arange(len(digits.data)), random_state=0), strict=True):
    features = np.concatenate(ray.get([encode.remote(part) for part in np.array_split(digits.data[rows], 4)]))
    np.savez(folder / f"{name}.npz", features=features, labels=digits.target[rows].astype(str))

# %% What all arms share: where the rows are, and what is bought when.
config = asvp.load_config(
    None,
    [
        f"data.pool={folder / 'pool.npz'}",
        f"data.test={folder / 'test.npz'}",
        "mode=svp",
        "budget=20+20x4",
        "training.method=lp",
        f"extraction.cache={folder / 'cache'}",
    ],
)

# %% Which strategy? Three of them with two seeds, beside each other on the cluster that is there.
space = Space(arms=strategies("random", "margin", "badge"), seeds=(0, 1))
result = asvp.sweep(space, config, out=folder / "sweep")

# %% How the trials stand, and every round as a table.
rounds = result.to_pandas()
print(rounds.groupby(["arm", "labelled"])["proxy_accuracy"].mean().unstack("arm").round(3))

# %% The answer. In a notebook `result` and `result.report()` show themselves as tables.
print(f"Best at 80 labels: {result.best(at=80)}")
print(result.report(folder / "report").verdict.text)

# %% The cluster is the program's: the sweep leaves it as it was.
assert ray.is_initialized()
