# /// honest
# shows = "an asyncio server and client on the program's own loopback, and a child process"
# stdout = "b'HELLO' b'child\\n'"
# ///
import asyncio
import sys


async def shout(reader, writer):
    writer.write((await reader.read(100)).upper())
    await writer.drain()
    writer.close()


async def main():
    server = await asyncio.start_server(shout, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello")
    answer = await reader.read(100)
    writer.close()
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", "print('child')", stdout=asyncio.subprocess.PIPE)
    print(answer, (await child.communicate())[0])


asyncio.run(main())
