"""Saves the figures that are open at the end of a program, so that `plt.plot(…)` alone leaves a picture."""

import io
import logging
import os
import sys
import warnings

FOLDER = "/work"
# As many files as a result may have, unless an operator says otherwise.
MOST = 100


def save():
    helpers = sys.modules.get("matplotlib._pylab_helpers")
    if helpers is None:
        return
    managers = sorted(helpers.Gcf.figs.values(), key=lambda manager: manager.num)
    if not managers:
        return
    # It is not the program that draws here, and what is said of it is not its output.
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            number = 0
            for manager in managers[:MOST]:
                try:
                    number = _save(manager.canvas.figure, number + 1)
                except Exception:
                    # One that cannot be drawn does not stand in the way of the next one.
                    continue
    finally:
        logging.disable(logging.NOTSET)


def _save(figure, number):
    """Saves one under the first number that is free, from `number` on; that number."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png")
    while True:
        path = f"{FOLDER}/figure-{number}.png"
        try:
            # What is there is the program's.
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            number += 1
            continue
        break
    try:
        rest = picture.getbuffer()
        while rest:
            rest = rest[os.write(file, rest) :]
    except BaseException:
        # Half a picture is none.
        os.unlink(path)
        raise
    finally:
        os.close(file)
    return number
