"""Prepares the interpreter of a sandbox; imported by `site`, before the program.

Nothing here is a boundary. It makes packages importable, lets output be seen while the program runs, and has an
uncaught exception described on the report pipe.
"""

import os
import site
import sys

# Device and inode of the report pipe, by which it is told from what else may be descriptor 3 one day; for `sandbox`.
report_pipe = None


def _install():
    # Complete lines are visible at once, also through a pipe and also when the program is killed in the middle.
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(line_buffering=True)
    site.addsitedir("/opt/python/packages")
    # A zygote is the engine's child and not the first one: no program comes before its workers.
    if "SANDBOX_ZYGOTE" in os.environ and os.getppid() == 1 and os.getpid() != 2:
        import _sandbox_zygote

        _sandbox_zygote.install()
        return
    prepare_program()


def prepare_program(forked=False):
    """What depends on the program, and on the process that runs it."""
    global report_pipe
    # What CPython does by itself from 3.13 on: pools are as large as the CPU share, not as the host.
    cpus = os.environ.get("PYTHON_CPU_COUNT", "")
    if (sys.version_info < (3, 13) or forked) and cpus.isdecimal():
        os.cpu_count = lambda: int(cpus)
        if hasattr(os, "process_cpu_count"):
            os.process_cpu_count = os.cpu_count
    # Only the main process of the sandbox has the report pipe, as descriptor 3. It is the first one after pid 1.
    main = os.getpid()
    if main != 2:
        return
    if os.environ.pop("SANDBOX_FIGURES", None) and not forked:
        _save_figures_at_the_end()
    try:
        os.set_inheritable(3, False)
        report = os.fstat(3)
        report_pipe = report.st_dev, report.st_ino
    except OSError:
        return
    print_exception = sys.excepthook

    def excepthook(kind, value, trace):
        try:
            # Importing would make CPython forget that it has to end by SIGINT after this one.
            if os.getpid() == main and not issubclass(kind, KeyboardInterrupt):
                import _sandbox_report

                _sandbox_report.tell(3, kind, value, trace)
        except BaseException:
            # A program that broke what the report needs still gets its exception printed.
            pass
        print_exception(kind, value, trace)

    sys.excepthook = excepthook


def _save_figures_at_the_end():
    # After the program's threads and before functions of `atexit`, of which matplotlib's own closes all figures. There
    # is no public way to be called there.
    import threading

    wait = threading._shutdown

    def shutdown():
        try:
            wait()
        finally:
            save_figures()

    threading._shutdown = shutdown


def save_figures():
    """Saves the figures that the program has left open. Whatever goes wrong is no business of the program's."""
    try:
        if os.getpid() == 2 and "matplotlib.pyplot" in sys.modules:
            import _sandbox_figures

            _sandbox_figures.save()
    except BaseException:
        pass


_install()
