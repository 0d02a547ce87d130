# /// honest
# shows = "an uncaught exception: name, message, line, and a traceback that starts in the program"
# reason = "Exception"
# exit = 1
# stdout = "before"
# error = "KeyError"
# error_value = "'missing'"
# error_line = 15
# stderr_contains = ["Traceback (most recent call last):\n  File \"/work/main.py\", line 19, in <module>\n    look_up()", "KeyError: 'missing'"]
# stderr_lacks = ["runpy", "frozen", "site-packages", "aevatar"]
# ///


def look_up():
    return {}["missing"]


print("before")
look_up()
