# /// honest
# shows = "time zones of the standard library, and local time"
# stdout = "2024-07-01T12:00:00+02:00 2024-07-01T19:00:00+09:00 True"
# ///
import time
from datetime import datetime
from zoneinfo import ZoneInfo

noon = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
print(noon.isoformat(), noon.astimezone(ZoneInfo("Asia/Tokyo")).isoformat(), time.localtime().tm_year >= 2024)
