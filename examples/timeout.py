"""Never ends: run it with a time limit."""

print("working ...")
while True:
    pass
