"""A small analysis: a table, a model with its score, and a plot."""

import os

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import train_test_split

rng = np.random.default_rng(7)
days = pd.DataFrame(
    {
        "month": rng.integers(1, 13, 400),
        "temperature": rng.normal(15, 8, 400).round(1),
        "weekend": rng.random(400) < 2 / 7,
    }
)
days["sales"] = (200 + 6 * days.temperature + 90 * days.weekend + rng.normal(0, 20, 400)).round()

table = days.groupby("weekend").agg(days=("sales", "size"), mean=("sales", "mean"), sd=("sales", "std"))
print(table.round(1).to_string())

features = days[["temperature", "weekend"]]
train_x, test_x, train_y, test_y = train_test_split(features, days.sales, random_state=7)
model = LinearRegression().fit(train_x, train_y)
print(f"\nsales = {model.intercept_:.0f} + {model.coef_[0]:.1f} x temperature + {model.coef_[1]:.0f} x weekend")
print(f"score (R2) on {len(test_x)} days that the model has not seen: {model.score(test_x, test_y):.3f}")

plt.scatter(days.temperature, days.sales, c=days.weekend, cmap="coolwarm", s=12)
plt.xlabel("temperature")
plt.ylabel("sales")
plt.savefig("sales.png")
print("sales.png:", os.path.getsize("sales.png"), "bytes")
