"""Makes the models of this folder with XGBoost: `pip install xgboost numpy scipy`, then `python3 train.py`.

Writes for each objective the model and, for some rows with gaps, what XGBoost itself predicts.
"""

import json
import pathlib

import numpy as np
import xgboost as xgb

FOLDER = pathlib.Path(__file__).parent
NAMES = ["price", "rating", "distance"]


def main() -> None:
    random = np.random.default_rng(7)
    rows = random.uniform(-2, 2, (400, 3)).astype(np.float32)
    rows[random.random(rows.shape) < 0.1] = np.nan
    filled = np.nan_to_num(rows)
    target = filled[:, 0] * 0.5 + filled[:, 1] ** 2 - filled[:, 2] * filled[:, 0]
    for objective, labels in [("reg:squarederror", target), ("binary:logistic", (target > 0.7) * 1.0)]:
        data = xgb.DMatrix(rows, labels, feature_names=NAMES)
        booster = xgb.train({"objective": objective, "max_depth": 3, "seed": 1}, data, 6)
        name = objective.split(":")[1]
        booster.save_model(FOLDER / f"{name}.json")
        test = rows[:60]
        scores = booster.predict(xgb.DMatrix(test, feature_names=NAMES))
        lines = [
            [None if np.isnan(value) else float(value) for value in row] + [float(score)]
            for row, score in zip(test, scores)
        ]
        (FOLDER / f"{name}.rows.json").write_text(json.dumps(lines))


main()
