# /// attack
# tries = "confuse the reader of the result pipe with noise, huge lengths, bad text and half a message"
# requirement = "I6"
# layer = "bounded result pipe"
# [control]
# exit = 5
# stdout = "done"
# [inside]
# exit = 5
# stdout = "done"
# ///
import os

for piece in (
    b"\xff" * 16,
    b"\x7f\xff\xff\xff" * 4,
    os.urandom(4096),
    b'{"name":"\\ud800\xff\xfe","value":"\x1b]0;title\x07","line":1e999,"errno":-99999999999999999999}\n',
    b'{"name":"half',
):
    os.write(3, piece)
print("done", flush=True)
os._exit(5)
