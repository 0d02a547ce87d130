using System;
using System.Collections.Generic;
using System.Net.Http;
using System.Threading.Tasks;
using Aevatar.Sandbox;

/// <summary>Shows every call of the client. Arguments: the address of the service, and a key where it asks for one.</summary>
public static class Program
{
    public static int Main(string[] args)
    {
        var address = args.Length > 0 ? args[0] : "http://127.0.0.1:5000";
        using (var http = new HttpClient { BaseAddress = new Uri(address), Timeout = TimeSpan.FromMinutes(6) })
        {
            ShowAsync(new AevatarSandboxClient(http, args.Length > 1 ? args[1] : null)).GetAwaiter().GetResult();
        }
        return 0;
    }

    private static async Task ShowAsync(AevatarSandboxClient client)
    {
        var result = await client.ExecuteAsync(new ExecuteRequest("import os, sys\nprint(os.environ['WHO'], sys.argv[1:], 6 * 7)")
        {
            Timeout = 10,
            Resources = new Resources { MemoryLimit = "256Mi" },
            Args = new List<string> { "one", "two" },
            Env = new Dictionary<string, string> { { "WHO", "C#" } },
        });
        Console.WriteLine("execute: " + result.Status + " " + result.Stdout.Trim());

        var failed = await client.ExecuteAsync(new ExecuteRequest("1 / 0"));
        Console.WriteLine("failed: " + failed.Error.Name + " in line " + failed.Error.Line + ", " + failed.Termination.Reason);

        var started = await client.StartAsync(
            new ExecuteRequest("import time\nfor step in range(3):\n    print('step', step, flush=True)\n    time.sleep(0.2)"),
            idempotencyKey: Guid.NewGuid().ToString());
        var written = "";
        await client.FollowAsync(started.ExecutionId, happened =>
        {
            if (happened.Name == "stdout")
            {
                written += happened.Text;
            }
        });
        Console.WriteLine("events: " + written.Trim().Replace("\n", ", "));
        Console.WriteLine("status: " + (await client.GetStatusAsync(started.ExecutionId)).Status);
        Console.WriteLine("result: " + (await client.GetResultAsync(started.ExecutionId)).Stdout.Trim().Replace("\n", ", "));
        var first = 0L;
        await client.FollowAsync(started.ExecutionId, happened => first = first == 0 ? happened.Id : first, after: 1);
        Console.WriteLine("resumed at: " + first);

        var endless = await client.StartAsync(new ExecuteRequest("while True: pass") { Timeout = 30 });
        await client.CancelAsync(endless.ExecutionId);
        Console.WriteLine("cancel: " + (await client.GetResultAsync(endless.ExecutionId)).Status);

        try
        {
            await client.ExecuteAsync(new ExecuteRequest("import ctypes"));
        }
        catch (SandboxException refused)
        {
            Console.WriteLine("refused: " + refused.Status + " " + refused.Problem.Code);
        }
    }
}
