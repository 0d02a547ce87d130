# /// attack
# tries = "plant modules that the next run imports: in the work folder, in the user's site-packages, as usercustomize"
# requirement = "F4"
# layer = "writable folders of their own per execution"
# runs = 2
# [control]
# stdout = "reached"
# [inside]
# stdout = "blocked"
# ///
import os
import site

try:
    import planted_by_corpus  # noqa: F401

    print("reached")
except ImportError:
    print("blocked")
folders = [os.getcwd()]
if os.environ["HOME"] in ("/tmp", os.getcwd()):  # never in a real home, should the sandbox be missing
    folders.append(site.getusersitepackages())
for folder in folders:
    os.makedirs(folder, exist_ok=True)
    for name in ("planted_by_corpus", "usercustomize"):
        with open(f"{folder}/{name}.py", "w") as file:
            file.write("planted = True\n")
