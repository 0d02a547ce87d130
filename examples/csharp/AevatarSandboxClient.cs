using System;
using System.Collections.Generic;
using System.IO;
using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Runtime.Serialization;
using System.Runtime.Serialization.Json;
using System.Text;
using System.Threading;
using System.Threading.Tasks;

namespace Aevatar.Sandbox
{
    /// <summary>A client of the HTTP service. It is safe to use from several threads; keep one for the whole process.</summary>
    /// <remarks>It needs no package: it runs on .NET 5 and later, .NET Framework 4.5 and later, and Mono.</remarks>
    public sealed class AevatarSandboxClient
    {
        private readonly HttpClient http;

        /// <param name="http">Its <c>BaseAddress</c> is the service. Its <c>Timeout</c> should be longer than that of programs.</param>
        /// <param name="key">The key, where the service asks for one.</param>
        public AevatarSandboxClient(HttpClient http, string key = null)
        {
            this.http = http;
            if (key != null)
            {
                http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);
            }
        }

        /// <summary>Runs a program and waits for its result. Whatever becomes of the program is a result, not an exception.</summary>
        /// <exception cref="SandboxException">The service did not run it.</exception>
        public Task<ExecutionResult> ExecuteAsync(ExecuteRequest request, CancellationToken cancel = default(CancellationToken))
        {
            return SendAsync<ExecutionResult>(HttpMethod.Post, "api/python/execute", request, null, cancel);
        }

        /// <summary>Starts a program. With a key of the caller's own the same request can be sent again, and starts once.</summary>
        public Task<ExecutionState> StartAsync(
            ExecuteRequest request, string idempotencyKey = null, CancellationToken cancel = default(CancellationToken))
        {
            return SendAsync<ExecutionState>(HttpMethod.Post, "api/python/executions", request, idempotencyKey, cancel);
        }

        /// <summary>Where an execution is.</summary>
        public Task<ExecutionState> GetStatusAsync(string id, CancellationToken cancel = default(CancellationToken))
        {
            return SendAsync<ExecutionState>(HttpMethod.Get, Path(id, ""), null, null, cancel);
        }

        /// <summary>The result, once there is one. It asks again until then; each time the service waits.</summary>
        public async Task<ExecutionResult> GetResultAsync(string id, CancellationToken cancel = default(CancellationToken))
        {
            while (true)
            {
                using (var message = new HttpRequestMessage(HttpMethod.Get, Path(id, "/result?wait=30")))
                using (var response = await http.SendAsync(message, cancel).ConfigureAwait(false))
                {
                    var body = await response.Content.ReadAsByteArrayAsync().ConfigureAwait(false);
                    Check(response, body);
                    if (response.StatusCode == HttpStatusCode.OK)
                    {
                        return Json.Read<ExecutionResult>(body);
                    }
                }
            }
        }

        /// <summary>Ends an execution. It may be asked for more than once.</summary>
        public Task<CancelAnswer> CancelAsync(string id, CancellationToken cancel = default(CancellationToken))
        {
            return SendAsync<CancelAnswer>(HttpMethod.Post, Path(id, "/cancel"), null, null, cancel);
        }

        /// <summary>Tells what happens to an execution until its result. A lost connection is taken up where it broke off.</summary>
        /// <param name="after">The number of the last event that is known.</param>
        public async Task FollowAsync(
            string id, Action<SandboxEvent> onEvent, long after = 0, CancellationToken cancel = default(CancellationToken))
        {
            const int Attempts = 5;
            for (var left = Attempts; ; left--)
            {
                var before = after;
                try
                {
                    after = await FollowOnceAsync(id, happened => { after = happened.Id; onEvent(happened); }, after, cancel)
                        .ConfigureAwait(false);
                    if (after == Ended)
                    {
                        return;
                    }
                }
                catch (HttpRequestException) when (left > 0)
                {
                }
                catch (IOException) when (left > 0)
                {
                }
                if (after > before)
                {
                    left = Attempts;
                }
                if (left == 0)
                {
                    throw new IOException("the events ended before the result");
                }
                await Task.Delay(TimeSpan.FromSeconds(1), cancel).ConfigureAwait(false);
            }
        }

        private const long Ended = -1;

        /// <returns>The number of the last event, or <see cref="Ended"/> after the result.</returns>
        private async Task<long> FollowOnceAsync(string id, Action<SandboxEvent> onEvent, long after, CancellationToken cancel)
        {
            using (var message = new HttpRequestMessage(HttpMethod.Get, Path(id, "/events")))
            {
                message.Headers.Accept.ParseAdd("text/event-stream");
                message.Headers.Add("Last-Event-ID", after.ToString());
                using (var response = await http.SendAsync(message, HttpCompletionOption.ResponseHeadersRead, cancel)
                    .ConfigureAwait(false))
                {
                    if (!response.IsSuccessStatusCode)
                    {
                        Check(response, await response.Content.ReadAsByteArrayAsync().ConfigureAwait(false));
                    }
                    var stream = await response.Content.ReadAsStreamAsync().ConfigureAwait(false);
                    // A read of a stream cannot be cancelled everywhere; the end of the answer ends it.
                    using (cancel.Register(response.Dispose))
                    using (var reader = new StreamReader(stream, Encoding.UTF8))
                    {
                        var happened = new SandboxEvent();
                        string line;
                        while ((line = await reader.ReadLineAsync().ConfigureAwait(false)) != null)
                        {
                            if (line.Length > 0)
                            {
                                happened.Add(line);
                            }
                            else if (happened.Data != null)
                            {
                                after = happened.Id;
                                onEvent(happened);
                                if (happened.Name == "result")
                                {
                                    return Ended;
                                }
                                happened = new SandboxEvent();
                            }
                        }
                    }
                }
            }
            return after;
        }

        private static string Path(string id, string rest)
        {
            return "api/python/executions/" + Uri.EscapeDataString(id) + rest;
        }

        private async Task<T> SendAsync<T>(
            HttpMethod method, string path, ExecuteRequest request, string idempotencyKey, CancellationToken cancel)
        {
            using (var message = new HttpRequestMessage(method, path))
            {
                if (request != null)
                {
                    message.Content = new ByteArrayContent(Json.Write(request));
                    message.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
                }
                if (idempotencyKey != null)
                {
                    message.Headers.Add("Idempotency-Key", idempotencyKey);
                }
                using (var response = await http.SendAsync(message, cancel).ConfigureAwait(false))
                {
                    var body = await response.Content.ReadAsByteArrayAsync().ConfigureAwait(false);
                    Check(response, body);
                    return Json.Read<T>(body);
                }
            }
        }

        private static void Check(HttpResponseMessage response, byte[] body)
        {
            if (response.IsSuccessStatusCode)
            {
                return;
            }
            var type = response.Content.Headers.ContentType;
            var isProblem = type != null && type.MediaType == "application/problem+json";
            // Something in between may have answered.
            var problem = isProblem ? Json.Read<Problem>(body) : new Problem { Title = response.ReasonPhrase };
            throw new SandboxException((int)response.StatusCode, problem);
        }
    }

    internal static class Json
    {
        // `env` as an object, not as a list of pairs.
        private static readonly DataContractJsonSerializerSettings Settings =
            new DataContractJsonSerializerSettings { UseSimpleDictionaryFormat = true };

        internal static byte[] Write<T>(T value)
        {
            using (var stream = new MemoryStream())
            {
                new DataContractJsonSerializer(typeof(T), Settings).WriteObject(stream, value);
                return stream.ToArray();
            }
        }

        internal static T Read<T>(byte[] json)
        {
            using (var stream = new MemoryStream(json))
            {
                return (T)new DataContractJsonSerializer(typeof(T), Settings).ReadObject(stream);
            }
        }
    }

    /// <summary>One program to run. What is left out takes the service's default.</summary>
    [DataContract]
    public sealed class ExecuteRequest
    {
        public ExecuteRequest(string code)
        {
            Code = code;
        }

        [DataMember(Name = "code")]
        public string Code { get; set; }

        /// <summary>Seconds.</summary>
        [DataMember(Name = "timeout", EmitDefaultValue = false)]
        public double? Timeout { get; set; }

        [DataMember(Name = "resources", EmitDefaultValue = false)]
        public Resources Resources { get; set; }

        [DataMember(Name = "stdin", EmitDefaultValue = false)]
        public string Stdin { get; set; }

        [DataMember(Name = "args", EmitDefaultValue = false)]
        public List<string> Args { get; set; }

        [DataMember(Name = "env", EmitDefaultValue = false)]
        public Dictionary<string, string> Env { get; set; }
    }

    /// <summary>Limits, as in Kubernetes: <c>500m</c>, <c>256Mi</c>, <c>1Gi</c>.</summary>
    [DataContract]
    public sealed class Resources
    {
        [DataMember(Name = "cpuLimit", EmitDefaultValue = false)]
        public string CpuLimit { get; set; }

        [DataMember(Name = "memoryLimit", EmitDefaultValue = false)]
        public string MemoryLimit { get; set; }

        [DataMember(Name = "diskLimit", EmitDefaultValue = false)]
        public string DiskLimit { get; set; }
    }

    /// <summary>What came of a program; docs/result.md has the other fields.</summary>
    [DataContract]
    public sealed class ExecutionResult
    {
        [DataMember(Name = "executionId")]
        public string ExecutionId { get; set; }

        /// <summary><c>Completed</c>, <c>Failed</c>, <c>TimedOut</c> or <c>Cancelled</c>.</summary>
        [DataMember(Name = "status")]
        public string Status { get; set; }

        [DataMember(Name = "exitCode")]
        public int? ExitCode { get; set; }

        [DataMember(Name = "stdout")]
        public string Stdout { get; set; }

        [DataMember(Name = "stderr")]
        public string Stderr { get; set; }

        [DataMember(Name = "error")]
        public PythonError Error { get; set; }

        [DataMember(Name = "termination")]
        public Termination Termination { get; set; }

        [DataMember(Name = "hints")]
        public List<string> Hints { get; set; }
    }

    /// <summary>An uncaught exception.</summary>
    [DataContract]
    public sealed class PythonError
    {
        [DataMember(Name = "name")]
        public string Name { get; set; }

        [DataMember(Name = "value")]
        public string Value { get; set; }

        [DataMember(Name = "traceback")]
        public string Traceback { get; set; }

        [DataMember(Name = "line")]
        public int? Line { get; set; }
    }

    /// <summary>Why a program ended.</summary>
    [DataContract]
    public sealed class Termination
    {
        [DataMember(Name = "reason")]
        public string Reason { get; set; }

        [DataMember(Name = "message")]
        public string Message { get; set; }
    }

    /// <summary>Where an execution is.</summary>
    [DataContract]
    public sealed class ExecutionState
    {
        [DataMember(Name = "executionId")]
        public string ExecutionId { get; set; }

        /// <summary><c>Pending</c>, <c>Running</c>, or as of a result.</summary>
        [DataMember(Name = "status")]
        public string Status { get; set; }

        [DataMember(Name = "isCompleted")]
        public bool IsCompleted { get; set; }

        /// <summary>How many wait before it, while it waits.</summary>
        [DataMember(Name = "queuePosition")]
        public long? QueuePosition { get; set; }
    }

    /// <summary>What came of a wish to cancel.</summary>
    [DataContract]
    public sealed class CancelAnswer
    {
        [DataMember(Name = "executionId")]
        public string ExecutionId { get; set; }

        [DataMember(Name = "outcome")]
        public string Outcome { get; set; }

        [DataMember(Name = "status")]
        public string Status { get; set; }
    }

    /// <summary>Something that happened to an execution.</summary>
    public sealed class SandboxEvent
    {
        public long Id { get; private set; }

        /// <summary><c>queued</c>, <c>started</c>, <c>stdout</c>, <c>stderr</c>, <c>progress</c>, <c>usage</c>, <c>lost</c>, <c>result</c>.</summary>
        public string Name { get; private set; }

        /// <summary>JSON.</summary>
        public string Data { get; private set; }

        /// <summary>What was written, of <c>stdout</c> and <c>stderr</c>.</summary>
        public string Text
        {
            get { return Json.Read<Piece>(Encoding.UTF8.GetBytes(Data)).Text; }
        }

        internal void Add(string line)
        {
            // A line that begins with a colon keeps the connection alive.
            var colon = line.IndexOf(':');
            var value = colon < 0 ? "" : line.Substring(colon + 1).TrimStart(' ');
            switch (colon < 0 ? line : line.Substring(0, colon))
            {
                case "id":
                    Id = long.Parse(value);
                    break;
                case "event":
                    Name = value;
                    break;
                case "data":
                    Data = value;
                    break;
            }
        }

        [DataContract]
        private sealed class Piece
        {
            [DataMember(Name = "text")]
            public string Text { get; set; }
        }
    }

    /// <summary>Why a request was not run: RFC 9457.</summary>
    [DataContract]
    public sealed class Problem
    {
        /// <summary>For a program: <c>InvalidRequest</c>, <c>CodeRejected</c>, <c>Busy</c> …</summary>
        [DataMember(Name = "code")]
        public string Code { get; set; }

        [DataMember(Name = "title")]
        public string Title { get; set; }

        [DataMember(Name = "detail")]
        public string Detail { get; set; }

        /// <summary>What to do next.</summary>
        [DataMember(Name = "hint")]
        public string Hint { get; set; }

        /// <summary>The field that is wrong.</summary>
        [DataMember(Name = "field")]
        public string Field { get; set; }
    }

    /// <summary>The service did not do what it was asked for.</summary>
    public sealed class SandboxException : Exception
    {
        public SandboxException(int status, Problem problem)
            : base(status + " " + problem.Title + (problem.Detail == null ? "" : ": " + problem.Detail))
        {
            Status = status;
            Problem = problem;
        }

        public int Status { get; }

        public Problem Problem { get; }
    }
}
