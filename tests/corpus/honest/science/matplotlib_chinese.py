# /// honest
# shows = "Chinese labels without a missing glyph, where the host has a font for them"
# stdout = "no missing glyph"
# ///
import warnings

import matplotlib.font_manager
import matplotlib.pyplot as plt

CJK = ("Noto Sans CJK", "Noto Serif CJK", "WenQuanYi", "Source Han", "AR PL", "Droid Sans Fallback", "SimHei", "PingFang")
installed = any(font.name.startswith(CJK) for font in matplotlib.font_manager.fontManager.ttflist)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    plt.plot([1, 2, 3], [3, 1, 2], label="销售额")
    plt.title("每月销售额（万元）")
    plt.xlabel("月份")
    plt.legend()
    plt.savefig("plot.png")
missing = [str(warning.message) for warning in caught if "missing from" in str(warning.message)]
print(missing[0] if missing and installed else "no missing glyph")
