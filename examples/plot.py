"""Draws a plot with Chinese labels, and prints the size of the file."""

import os

import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 2 * np.pi, 200)
plt.plot(x, np.sin(x), label="正弦")
plt.plot(x, np.cos(x), label="余弦")
plt.title("正弦与余弦 (sine and cosine)")
plt.legend()
plt.savefig("plot.png", dpi=100)
print("plot.png:", os.path.getsize("plot.png"), "bytes")
