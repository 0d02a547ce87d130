"""The import policy while a program runs; executed by `_sandbox_imports.py` at the program's first import.

Nothing here is a boundary: a program that wants to gets around it, and then meets the kernel.
"""

import _frozen_importlib
import os
import sys

ALLOWED, BLOCKED, NOT_ALLOWED = range(3)
PREFIX = "/opt/python/"
PACKAGES = PREFIX + "packages"
# Characters of the list of allowed modules in a message.
MAX_LIST = 200


def decide(allowed, blocked, module, in_standard_library):
    """`ImportPolicy::decide`, which has the tests; this one is tested to be the same."""
    prefix, dot = module, "."
    while dot:
        if prefix in blocked:
            return BLOCKED
        if prefix in allowed:
            return ALLOWED
        prefix, dot, _ = prefix.rpartition(".")
    return ALLOWED if in_standard_library or "*" in allowed else NOT_ALLOWED


def in_standard_library(module):
    first = module.partition(".")[0]
    # The program's own name, and that of what it can tell.
    if first in ("__main__", "sandbox"):
        return True
    return first in sys.stdlib_module_names or first in sys.builtin_module_names


def install(import_function, harmless, trusted, module_file):
    """Completes what `_sandbox_imports.py` began; returns the function that it asks."""
    file = module_file.replace(".py", ".txt")
    try:
        policy = Policy(*_read(file), harmless, trusted)
    except (FileNotFoundError, KeyError, ValueError) as error:
        # Not an exception, which the program could live on with.
        os.write(2, f"the sandbox's import policy in {file} cannot be read: {error!r}\n".encode())
        os._exit(125)
    gcd_import = _frozen_importlib._gcd_import
    frame_of, with_traceback = sys._getframe, BaseException.with_traceback

    # What `importlib.import_module` calls; and importlib itself, for the packages that a module is in.
    def _gcd_import(name, package=None, level=0):
        try:
            frame = frame_of().f_back
            if not frame or not frame.f_code.co_filename.startswith("<frozen importlib."):
                if error := policy.refusal(frame, name, {"__package__": package}, None, None, level):
                    raise error
            return gcd_import(name, package, level)
        except BaseException as error:
            with_traceback(error, error.__traceback__.tb_next)
            raise

    _gcd_import.__code__ = _gcd_import.__code__.replace(co_filename=import_function.__code__.co_filename)
    # By which pickle finds it.
    import_function.__module__, import_function.__qualname__ = "builtins", "__import__"
    _frozen_importlib.__import__, _frozen_importlib._gcd_import = import_function, _gcd_import
    if "importlib" in sys.modules:
        sys.modules["importlib"].__import__ = import_function
    harmless.clear()
    harmless.update(policy.harmless_names())
    return policy.refusal


def _read(file):
    entries = {"allow": set(), "block": set()}
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            kind, module = line.split()
            entries[kind].add(module)
    return entries["allow"], entries["block"]


class Policy:
    def __init__(self, allowed, blocked, harmless, trusted):
        self.allowed = allowed
        self.blocked = blocked
        self.harmless = harmless
        self.trusted = trusted
        self.folders = [path for path in sys.path if _is_package(path)] or [PACKAGES]

    def harmless_names(self):
        """Names that everybody may import, with everything below."""
        names = {"sandbox", *sys.stdlib_module_names, *sys.builtin_module_names, *self.allowed}
        for module in self.blocked:
            names.discard(_first(module))
        return {name for name in names if "." not in name}

    def refusal(self, frame, name, globals, locals, fromlist, level):
        """The error that answers this call of `__import__`; nothing when the import may go on."""
        if not isinstance(name, str) or not isinstance(level, int) or level < 0:
            return None
        if level:
            try:
                package = _frozen_importlib._calc___package__(globals)
                name = _frozen_importlib._resolve_name(name, package, level)
            except Exception:
                # There is no such module, and importlib says it better.
                return None
        name = str(name)
        refused = self.refused(name, fromlist)
        if refused is None or not self.is_for_the_program(frame, globals):
            return None
        module, decision = refused
        if decision == BLOCKED:
            message = f"the import policy of this sandbox blocks the module {module!r}"
        elif not self.is_installed(name) or _is_from_c(globals, locals, fromlist) and _first(name) in sys.modules:
            # The program's own, or nobody's. Or C code of a package that was called by the program and imports what
            # belongs to it: the program's frame is the nearest.
            return None
        else:
            message = (
                f"the import policy of this sandbox does not allow the module {module!r}; "
                f"allowed beside the standard library: {self.shown_allowed()}"
            )
        return ImportError(message, name=module)

    def refused(self, name, fromlist):
        """The first module that `from name import fromlist` may not import, with the decision."""
        decision = self.decide(name)
        if not fromlist:
            if decision != ALLOWED:
                return name, decision
            if not any(entry.startswith(name + ".") for entry in self.blocked):
                self.harmless.add(name)
            return None
        items = [f"{name}.{item}" for item in fromlist if isinstance(item, str)]
        decisions = [self.decide(item) for item in items]
        # What is allowed below may be imported from above.
        if decision != ALLOWED and any(item != ALLOWED for item in decisions):
            return name, decision
        for item, decision in zip(items, decisions):
            if decision != ALLOWED:
                return item, decision
        return None

    def decide(self, module):
        return decide(self.allowed, self.blocked, module, in_standard_library(module))

    def is_for_the_program(self, frame, globals):
        """Whether the import is the program's, and not that of a package or of the standard library."""
        importer = frame
        # Of an import statement; a function that stands in for `__import__` passes them on.
        while importer and globals is not importer.f_globals:
            importer = importer.f_back
        if importer and importer.f_code.co_filename.startswith(self.trusted):
            return False
        frame = importer or frame
        # Of a string, who had it executed; of the standard library, who called it.
        while frame:
            file = frame.f_code.co_filename
            if file.startswith(PREFIX):
                return False
            if not file.startswith(("<", *self.trusted)):
                return True
            frame = frame.f_back
        return True

    def is_installed(self, name):
        """Whether `name` is, or would come, from the environment's packages."""
        first = _first(name)
        path_finder = sys.modules["_frozen_importlib_external"].PathFinder
        try:
            module = sys.modules.get(first)
            if module is not None:
                return _is_installed(getattr(module, "__spec__", None))
            # The program's own finders are asked only when there is a choice: they may notice.
            if path_finder.find_spec(first, self.folders) is None:
                return False
            return _is_installed(_frozen_importlib._find_spec(first, None))
        except Exception:
            return False

    def shown_allowed(self):
        text = ""
        for module in sorted(self.allowed, key=str.lower):
            if len(text) + len(module) > MAX_LIST:
                return text + ", …"
            text += f", {module}" if text else module
        return text or "nothing"


def _first(name):
    return name.partition(".")[0]


def _is_package(path):
    return path == PACKAGES or path.startswith(PACKAGES + "/")


def _is_installed(spec):
    origin = getattr(spec, "origin", None)
    if isinstance(origin, str):
        return _is_package(origin)
    # A folder without `__init__.py` has only places.
    places = list(getattr(spec, "submodule_search_locations", None) or [])
    return bool(places) and all(_is_package(place) for place in places)


def _is_from_c(globals, locals, fromlist):
    """`PyImport_Import` calls `__import__` so, and an import statement does not."""
    return isinstance(fromlist, list) and not fromlist and globals is locals
