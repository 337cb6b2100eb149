"""The experiment's kinds of estimator, with predictions for configurations that were left out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from torch import nn

Floats = npt.NDArray[np.float64]
#: Trained on n rows (n × features, n), it gives the predictions of m others (m × features).
Estimator = Callable[[Floats, Floats, Floats], Floats]

WIDTH, EPOCHS, SEEDS = 64, 800, 5
SHRINKAGE = np.logspace(-3, 3, 13)


def linear(x: Floats, y: Floats, others: Floats) -> Floats:
    """Features and the products of each two, shrunk as far as predicting left-out rows asks for.

    Fifteen terms on a few dozen rows: without that, one slow sample of an input length that few
    rows have throws predictions of other lengths off by a second.
    """
    products = PolynomialFeatures(2, interaction_only=True, include_bias=False)
    fitted = make_pipeline(StandardScaler(), products, RidgeCV(SHRINKAGE)).fit(x, y)
    return np.asarray(fitted.predict(others))


def boosted(x: Floats, y: Floats, others: Floats) -> Floats:
    """Gradient-boosted trees as scikit-learn has them by default."""
    fitted = GradientBoostingRegressor(random_state=0).fit(x, y)
    return np.asarray(fitted.predict(others))


def network(x: Floats, y: Floats, others: Floats) -> Floats:
    """Two hidden layers; the mean over several seeds, since 54 rows leave much to the seed."""
    scaler = StandardScaler().fit(x)
    mean, spread = y.mean(), y.std() or 1.0
    given = _tensor(scaler.transform(x))
    wanted = _tensor((y - mean) / spread)[:, None]
    asked = _tensor(scaler.transform(others))
    found = [_trained(seed, given, wanted, asked) for seed in range(SEEDS)]
    return np.mean(found, axis=0) * spread + mean


ESTIMATORS: Mapping[str, Estimator] = {
    "linear with products": linear,
    "gradient boosting": boosted,
    "two-layer network": network,
}


def left_out(
    estimator: Estimator,
    features: Floats,
    target: Floats,
    fold: npt.NDArray[np.int64],
    known: npt.NDArray[np.bool_],
) -> Floats:
    """Each row predicted by an estimator that saw no sample of its fold; shape (n,)."""
    found = np.empty(len(target))
    for number in np.unique(fold):
        out = fold == number
        train = ~out & known
        found[out] = estimator(features[train], target[train], features[out])
    return found


def _trained(
    seed: int, given: torch.Tensor, wanted: torch.Tensor, asked: torch.Tensor
) -> npt.NDArray[np.float64]:
    torch.manual_seed(seed)
    layers = [nn.Linear(given.shape[1], WIDTH), nn.Tanh(), nn.Linear(WIDTH, WIDTH), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(WIDTH, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS)
    for _ in range(EPOCHS):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(given), wanted).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return model(asked)[:, 0].double().numpy()


def _tensor(values: Floats) -> torch.Tensor:
    return torch.as_tensor(values, dtype=torch.float32)
