# /// honest
# shows = "describe, groupby and CSV files"
# stdout = '''
# north 30.0
# south 15.0
# 3 rows, mean 15.0
# '''
# ///
import pandas as pd

frame = pd.DataFrame({"region": ["north", "north", "south"], "sales": [10.0, 20.0, 15.0]})
frame.to_csv("sales.csv", index=False)
frame = pd.read_csv("sales.csv")
for region, total in frame.groupby("region")["sales"].sum().items():
    print(region, total)
print(f"{len(frame)} rows, mean {frame.describe().loc['mean', 'sales']}")
