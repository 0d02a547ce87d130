# /// honest
# shows = "time zones and formats of pandas"
# stdout = "2024-03-31 03:30:00+02:00 ['2024-01-31', '2024-02-29']"
# ///
import pandas as pd

moment = pd.Timestamp("2024-03-31 01:30", tz="UTC").tz_convert("Europe/Berlin")
print(moment, [str(day.date()) for day in pd.date_range("2024-01-01", periods=2, freq="ME")])
