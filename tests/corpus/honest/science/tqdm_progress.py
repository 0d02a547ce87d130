# /// honest
# shows = "a progress bar on stderr"
# stdout = "4950"
# stderr_contains = ["100%", "100/100"]
# ///
from tqdm import tqdm

print(sum(number for number in tqdm(range(100))))
