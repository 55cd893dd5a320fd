"""Makes the models and expected answers beside it: `python make.py` with xgboost-cpu 3.2 and with 2.1."""

import json

import numpy as np
import xgboost as xgb

VERSION = xgb.__version__.split(".")[0]
draw = np.random.default_rng(7)
X = draw.normal(size=(600, 4)).astype(np.float32)
X[draw.random(X.shape) < 0.1] = np.nan
SUM = np.nan_to_num(X) @ np.array([1.0, -0.5, 0.25, 0.0]) + 0.3 * np.nan_to_num(X[:, 0] * X[:, 1])
ROWS = draw.normal(size=(24, 4)).astype(np.float32)
ROWS[draw.random(ROWS.shape) < 0.15] = np.nan
ROWS[0] = np.nan


def save(name, params, labels, group=None, extension="ubj", rounds=12):
    data = xgb.DMatrix(X, label=labels)
    if group:
        data.set_group(group)
    params = {"max_depth": 3, "seed": 1, "nthread": 1, **params}
    booster = xgb.train(params, data, num_boost_round=rounds)
    booster.save_model(f"{name}_v{VERSION}.{extension}")
    asked = xgb.DMatrix(ROWS)
    expected = {
        "rows": [[None if np.isnan(x) else float(x) for x in row] for row in ROWS],
        "raw": [float(x) for x in booster.predict(asked, output_margin=True)],
        "default": [float(x) for x in booster.predict(asked)],
    }
    with open(f"{name}_v{VERSION}.expected.json", "w") as file:
        json.dump(expected, file)


def counts():
    return np.floor(np.exp(np.clip(SUM, -2, 2)))


save("squared", {"objective": "reg:squarederror"}, SUM)
save("logistic", {"objective": "binary:logistic", "base_score": 0.3}, (SUM > 0).astype(int))
save("ndcg", {"objective": "rank:ndcg"}, np.clip(np.round(SUM + 2), 0, 4).astype(int), [20] * 30)
save("logitraw", {"objective": "binary:logitraw"}, (SUM > 0).astype(int))
if VERSION == "3":
    save("poisson", {"objective": "count:poisson"}, counts())
    save("tweedie", {"objective": "reg:tweedie"}, counts())
    forest = {"objective": "reg:squarederror", "num_parallel_tree": 5, "subsample": 0.7, "eta": 1.0}
    save("forest", forest, SUM, rounds=1)
    save("asjson", {"objective": "binary:logistic"}, (SUM > 0).astype(int), extension="json")

    # What is refused; nothing is expected of them.
    save("dart", {"booster": "dart", "rate_drop": 0.3}, SUM)
    save("linear", {"booster": "gblinear"}, SUM, rounds=3)
    few = draw.normal(size=(200, 3))
    classes = (few[:, 0] > 0).astype(int) + (few[:, 1] > 0)
    softprob = {"objective": "multi:softprob", "num_class": 3, "max_depth": 2}
    xgb.train(softprob, xgb.DMatrix(few, label=classes), 3).save_model("multi.ubj")
    both = {"multi_strategy": "multi_output_tree", "tree_method": "hist", "max_depth": 2}
    xgb.train(both, xgb.DMatrix(few, label=np.stack([classes, classes], 1)), 2).save_model("targets.ubj")
    kinds = draw.integers(0, 5, size=(200, 1))
    kind = xgb.DMatrix(
        kinds.astype(float), label=(kinds[:, 0] == 2).astype(int), feature_types=["c"], enable_categorical=True
    )
    hist = {"objective": "binary:logistic", "max_depth": 2, "tree_method": "hist"}
    xgb.train(hist, kind, 3).save_model("categories.ubj")
