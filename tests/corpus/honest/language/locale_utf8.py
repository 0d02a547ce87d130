# /// honest
# shows = "UTF-8 everywhere: streams, files, file names; the locale can be set"
# stdout = "utf-8 utf-8 utf-8 True"
# ///
import locale
import os
import sys

locale.setlocale(locale.LC_ALL, "")
with open("数据.txt", "w") as file:
    file.write("é")
encoding = locale.getpreferredencoding(False).lower().replace("utf8", "utf-8")
print(sys.stdout.encoding, sys.getfilesystemencoding(), encoding, "数据.txt" in os.listdir())
