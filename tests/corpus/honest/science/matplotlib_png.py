# /// honest
# shows = "a plot saved as PNG, without a display"
# stdout = "True b'\\x89PNG\\r\\n\\x1a\\n'"
# stderr = ""
# ///
import matplotlib.pyplot as plt

plt.plot([1, 2, 3], [1, 4, 9], label="squares")
plt.legend()
plt.title("Growth")
plt.savefig("growth.png")
with open("growth.png", "rb") as file:
    data = file.read()
print(len(data) > 5000, data[:8])
