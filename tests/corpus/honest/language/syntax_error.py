# /// honest
# shows = "a syntax error is an exception with its line, like any other"
# reason = "Exception"
# exit = 1
# stdout = ""
# error = "SyntaxError"
# error_line = 10
# ///
print("never")
total = (1 +
