//! Programs whose interpreters were forked from one zygote: nothing that has to be random is the same in two of them, and
//! nothing of one is found by another.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Barrier,
};

use serde_json::{Value, json};

use super::{client::Request, server::Server};
use crate::require;

/// As many as are asked for at once: more than are parked, so that some are forked on request.
const SIBLINGS: usize = 8;
/// Times that this is tried: a slow server meets one after the other, and parks another one meanwhile.
const ATTEMPTS: usize = 10;

fn server(profiles: &[&str]) -> Server {
    let server = Server::with(&[("MaxConcurrentExecutions", "16"), ("ParkedMax", "2")]);
    server.wait_until_warm(profiles);
    server
}

/// What programs print that are all asked for at once. They were forked from the zygote of `profile`, some before they
/// were asked for and some after it.
fn together(server: &Server, programs: &[String], profile: &str) -> Vec<String> {
    for _attempt in 0..ATTEMPTS {
        server.wait_until_parked(profile);
        let results = at_once(server, programs);
        let output = |result: &Value| {
            let told = (&result["status"], &result["start"]["profile"]);
            assert_eq!(told, (&"Completed".into(), &profile.into()), "{}\n{}", result["stdout"], result["stderr"]);
            result["stdout"].as_str().unwrap().to_owned()
        };
        let outputs = results.iter().map(output).collect();
        let paths: BTreeSet<&str> = results.iter().filter_map(|result| result["start"]["path"].as_str()).collect();
        assert!(!paths.contains("cold"), "{paths:?}");
        if paths == BTreeSet::from(["forked", "parked"]) {
            return outputs;
        }
    }
    panic!("programs are never both forked and parked");
}

fn at_once(server: &Server, programs: &[String]) -> Vec<Value> {
    let barrier = Barrier::new(programs.len());
    let ask = |code: &String| {
        let mut connection = server.connect();
        barrier.wait();
        connection.ask(&Request::execute(&json!({ "code": code, "timeout": 120 }))).ok()
    };
    std::thread::scope(|scope| {
        let asked: Vec<_> = programs.iter().map(|code| scope.spawn(move || ask(code))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap()).collect()
    })
}

fn cold(server: &Server, code: &str) -> String {
    let result = server.execute(&json!({ "code": code, "timeout": 120, "isolation": { "zygote": "off" } })).ok();
    assert_eq!((&result["status"], &result["start"]["path"]), (&"Completed".into(), &"cold".into()), "{result}");
    result["stdout"].as_str().unwrap().to_owned()
}

/// Draws from everything that a program takes to be random.
const STANDARD_LIBRARY: &str = r#"
import email.utils, json, multiprocessing, os, random, secrets, ssl, tempfile, threading, uuid
values = {
    "random.random": random.random(),
    "random.getrandbits": random.getrandbits(64),
    "random.Random": random.Random().random(),
    "random.SystemRandom": random.SystemRandom().random(),
    "secrets.token_hex": secrets.token_hex(),
    "os.urandom": os.urandom(16).hex(),
    "ssl.RAND_bytes": ssl.RAND_bytes(16).hex(),
    "uuid.uuid4": str(uuid.uuid4()),
    "uuid.uuid1": str(uuid.uuid1()),
    "tempfile.mktemp": tempfile.mktemp(),
    "tempfile.NamedTemporaryFile": tempfile.NamedTemporaryFile().name,
    "tempfile.mkdtemp": tempfile.mkdtemp(),
    "email.utils.make_msgid": email.utils.make_msgid(),
    "multiprocessing.authkey": multiprocessing.current_process().authkey.hex(),
}
thread = threading.Thread(target=lambda: values.update(thread=random.random()))
thread.start(), thread.join()
"#;
const NUMPY: &str = r#"
import numpy as np
values |= {
    "numpy.random.rand": np.random.rand(),
    "numpy.random.randint": int(np.random.randint(1 << 62)),
    "numpy.random.permutation": str(np.random.permutation(100)),
    "numpy.random.default_rng": np.random.default_rng().random(),
    "numpy.random.RandomState": np.random.RandomState().rand(),
    "numpy.random.SeedSequence": str(np.random.SeedSequence().entropy),
}
"#;
const ALL: &str = r#"
import joblib, scipy.stats, sklearn.model_selection, sklearn.utils
values |= {
    "scipy.stats": scipy.stats.norm.rvs(),
    "sklearn.utils.check_random_state": sklearn.utils.check_random_state(None).rand(),
    "sklearn.model_selection": str(sklearn.model_selection.train_test_split(range(100))),
}
"#;

#[test]
fn siblings_draw_different_values_from_every_source() {
    if !require::default_tier() {
        return;
    }
    let server = server(&["bare", "numpy", "all"]);
    for (parts, profile, sources) in [
        (&[STANDARD_LIBRARY][..], "bare", 15),
        (&[STANDARD_LIBRARY, NUMPY], "numpy", 21),
        (&[STANDARD_LIBRARY, NUMPY, ALL], "all", 24),
    ] {
        let program = parts.concat() + "print(json.dumps(values))";
        let mut drawn: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for output in together(&server, &vec![program; SIBLINGS], profile) {
            let values: BTreeMap<String, Value> = serde_json::from_str(&output).unwrap();
            assert_eq!(values.len(), sources, "{values:?}");
            for (source, value) in values {
                drawn.entry(source).or_default().insert(value.to_string());
            }
        }
        for (source, values) in drawn {
            assert_eq!(values.len(), SIBLINGS, "{profile}: {source} gave the same twice: {values:?}");
        }
    }
}

#[test]
fn siblings_have_one_hash_seed_and_cold_programs_one_each() {
    if !require::default_tier() {
        return;
    }
    let server = server(&["bare"]);
    let program = "print(hash('x'), list({'a', 'b', 'c', 'd'}))";
    let siblings: BTreeSet<String> =
        together(&server, &vec![program.to_owned(); SIBLINGS], "bare").into_iter().collect();
    assert_eq!(siblings.len(), 1, "documented: {siblings:?}");
    let alone = [cold(&server, program), cold(&server, program)];
    assert!(alone[0] != alone[1] && alone.iter().all(|hash| !siblings.contains(hash)), "{alone:?} {siblings:?}");
}

/// Names of what a program can leave behind, each with how it is left and how it is noticed.
const MARKS: [(&str, &str, &str); 53] = [
    ("attribute of json", "json.mark = 1", "hasattr(json, 'mark')"),
    ("attribute of numpy", "np.mark = 1", "hasattr(np, 'mark')"),
    ("attribute of a class", "json.JSONEncoder.mark = 1", "hasattr(json.JSONEncoder, 'mark')"),
    ("function of a module", "json.dumps = print", "json.dumps is print"),
    ("builtin", "builtins.mark = 1", "hasattr(builtins, 'mark')"),
    ("builtin replaced", "builtins.ascii = repr", "ascii is repr"),
    ("attribute of sys", "sys.mark = 1", "hasattr(sys, 'mark')"),
    ("module", "sys.modules['mark'] = sys", "'mark' in sys.modules"),
    ("attribute of __main__", "import __main__; __main__.mark = 1", "'mark' in globals()"),
    ("sys.path", "sys.path.append('/mark')", "'/mark' in sys.path"),
    ("sys.meta_path", "sys.meta_path.append(json)", "json in sys.meta_path"),
    ("sys.path_hooks", "sys.path_hooks.append(print)", "print in sys.path_hooks"),
    ("sys.argv", "sys.argv.append('mark')", "'mark' in sys.argv"),
    ("sys.excepthook", "sys.excepthook = print", "sys.excepthook is print"),
    ("sys.displayhook", "sys.displayhook = print", "sys.displayhook is print"),
    ("sys.stdout", "sys.stdout.reconfigure(errors='replace')", "sys.stdout.errors == 'replace'"),
    ("recursion limit", "sys.setrecursionlimit(777)", "sys.getrecursionlimit() == 777"),
    ("switch interval", "sys.setswitchinterval(0.5)", "sys.getswitchinterval() == 0.5"),
    ("environment variable", "os.environ['MARK'] = '1'", "'MARK' in os.environ"),
    (
        "variable of C",
        "os.putenv('MARK2', '1')",
        "os.system is None or b'MARK2' in subprocess.run([sys.executable, '-c', 'import os; print(os.environ)'], capture_output=True).stdout",
    ),
    ("working folder", "os.chdir('/dev/shm')", "os.getcwd() != '/work'"),
    ("umask", "os.umask(0o77)", "(lambda mask: (os.umask(mask), mask)[1])(os.umask(0)) == 0o77"),
    ("file in /work", "open('/work/mark', 'w')", "os.listdir('/work') != ['main.py']"),
    ("file in /tmp", "open('/tmp/mark', 'w')", "os.path.exists('/tmp/mark')"),
    ("file in /dev/shm", "open('/dev/shm/mark', 'w')", "os.listdir('/dev/shm') != []"),
    ("file of matplotlib", "open('/tmp/.matplotlib/mark', 'w')", "os.path.exists('/tmp/.matplotlib/mark')"),
    ("open descriptor", "kept.append(os.open('/work/main.py', 0))", "os.path.exists('/proc/self/fd/4')"),
    (
        "shared memory",
        "kept.append(shared_memory.SharedMemory('shared', True, 9))",
        "any('rw-s' in line for line in open('/proc/self/maps'))",
    ),
    (
        "process",
        "os.fork() or (time.sleep(60), os._exit(0))",
        "sum(name.isdigit() for name in os.listdir('/proc')) > 1",
    ),
    (
        "abstract socket",
        "kept.append(socket.socket(socket.AF_UNIX)); kept[-1].bind('\\0mark'); kept[-1].listen()",
        "socket.socket(socket.AF_UNIX).connect_ex('\\0mark') == 0",
    ),
    (
        "listening socket",
        "kept.append(socket.create_server(('127.0.0.1', 4321)))",
        "socket.socket().connect_ex(('127.0.0.1', 4321)) == 0",
    ),
    (
        "limit of a resource",
        "resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))",
        "resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 99",
    ),
    ("priority", "os.nice(3)", "os.nice(0) == 3"),
    ("signal handler", "signal.signal(signal.SIGUSR1, print)", "signal.getsignal(signal.SIGUSR1) is print"),
    (
        "blocked signal",
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])",
        "signal.SIGUSR2 in signal.pthread_sigmask(signal.SIG_BLOCK, [])",
    ),
    ("timer", "signal.setitimer(signal.ITIMER_REAL, 99)", "signal.getitimer(signal.ITIMER_REAL) != (0.0, 0.0)"),
    ("function of atexit", "atexit.register(str)", "atexit._ncallbacks() > atexit_before"),
    ("garbage collection", "gc.disable()", "not gc.isenabled()"),
    ("thresholds of gc", "gc.set_threshold(7)", "gc.get_threshold()[0] == 7"),
    ("state of random", "random.seed(5)", "random.random() == random.Random(5).random()"),
    ("state of numpy.random", "np.random.seed(5)", "np.random.rand() == np.random.RandomState(5).rand()"),
    ("print options", "np.set_printoptions(precision=3)", "np.get_printoptions()['precision'] == 3"),
    ("handling of errors", "np.seterr(all='raise')", "np.geterr()['divide'] == 'raise'"),
    ("rcParams", "matplotlib.rcParams['lines.linewidth'] = 7", "matplotlib.rcParams['lines.linewidth'] == 7"),
    ("figure", "plt.figure()", "plt.get_fignums() != []"),
    ("decimal context", "decimal.getcontext().prec = 3", "decimal.getcontext().prec == 3"),
    (
        "filter of warnings",
        "warnings.simplefilter('error', BytesWarning)",
        "any(f[2] is BytesWarning and f[0] == 'error' for f in warnings.filters)",
    ),
    ("locale", "locale.setlocale(locale.LC_ALL, 'C')", "locale.setlocale(locale.LC_CTYPE) == 'C'"),
    ("logging", "logging.basicConfig(level=3)", "logging.root.level == 3 or logging.root.handlers != []"),
    ("codec", "codecs.register_error('mark', print)", "is_known(codecs.lookup_error, 'mark')"),
    ("abstract base class", "numbers.Number.register(set)", "issubclass(set, numbers.Number)"),
    ("copyreg", "copyreg.pickle(type(print), str)", "type(print) in copyreg.dispatch_table"),
    ("default timeout", "socket.setdefaulttimeout(9)", "socket.getdefaulttimeout() == 9"),
];

#[test]
fn a_program_finds_nothing_of_those_before_it() {
    if !require::default_tier() {
        return;
    }
    let server = server(&["matplotlib"]);
    let mut imports = "\
import atexit, builtins, codecs, copyreg, decimal, gc, json, locale, logging, numbers, os, random, resource, signal
import socket, subprocess, sys, time, warnings
from multiprocessing import shared_memory
import matplotlib, matplotlib.pyplot as plt, numpy as np
kept, atexit_before = [], atexit._ncallbacks()
def is_known(function, name):
    try:
        return bool(function(name))
    except LookupError:
        return False
"
    .to_owned();
    let table: Vec<[&str; 3]> = MARKS.iter().map(|(name, leave, notice)| [*name, *leave, *notice]).collect();
    imports.extend(["marks = ", &serde_json::to_string(&table).unwrap(), "\n"]);
    // Names of what is noticed, in the table's order; what answers differently once other marks are left comes first.
    let notice =
        "found = [name for name, _, notice in marks if eval(notice)]\nos.write(1, repr(found).encode())\nos._exit(0)\n";
    let marking = imports.clone() + "for _, leave, _ in marks:\n    exec(leave)\n" + notice;
    let looking = imports + notice;
    let names: Vec<&str> = MARKS.iter().map(|(name, _, _)| *name).collect();
    let all = format!("{names:?}").replace('"', "'");
    for _round in 0..3 {
        // Half of them at the same time, and then some that come after them.
        let programs = [vec![marking.clone(); SIBLINGS / 2], vec![looking.clone(); SIBLINGS / 2]].concat();
        for (place, found) in together(&server, &programs, "matplotlib").into_iter().enumerate() {
            assert_eq!(found, if place < SIBLINGS / 2 { all.as_str() } else { "[]" }, "program {place}");
        }
        let after = server.run(&looking);
        assert_eq!((&after["stdout"], &after["start"]["profile"]), (&"[]".into(), &"matplotlib".into()), "{after}");
    }
    assert_eq!(cold(&server, &looking), "[]");
}

/// Prints as JSON what a program sees of itself in /proc.
const SELF: &str = r#"
import json, os, re, sys
status = dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status"))
maps = [line.split(None, 5) for line in open("/proc/self/maps")]
# By then the folder that is listed is closed.
files = [name for name in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{name}")]
print(json.dumps({
    "files": sorted(map(int, files)),
    "processes": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    "environ": open("/proc/self/environ").read(),
    "cmdline": open("/proc/self/cmdline").read(),
    "threads": status["Threads"],
    "ids": [status[name] for name in ("Uid", "Gid", "NSpid", "CapEff", "CapPrm", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp")],
    "shared": [line for line in maps if "s" in line[1]],
    "modes": sorted({line[1] for line in maps}),
    "files_mapped": sorted({re.sub("^(/usr|/lib|/opt/python)/.*", "the environment", line[5].strip()) for line in maps if len(line) > 5}),
    "parent": os.getppid(),
}))
"#;

#[test]
fn a_program_sees_itself_alone_in_proc() {
    if !require::default_tier() {
        return;
    }
    let server = server(&["bare"]);
    let own = "import mmap, threading, time\nkept = open('/work/main.py')\nos_pages = mmap.mmap(-1, 4096)\n\
               import os\nos.fork() or (time.sleep(60), os._exit(0))\n\
               threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n";
    let parse = |text: String| serde_json::from_str::<Value>(&text).unwrap();
    let reference = parse(cold(&server, SELF));
    // What the table is made of is noticed where it is.
    let noisy = parse(together(&server, &vec![format!("{own}{SELF}"); SIBLINGS], "bare").remove(0));
    assert_eq!((&noisy["processes"], &noisy["threads"]), (&json!([2, 3]), &"2".into()), "{noisy}");
    assert!(noisy["files"].as_array().unwrap().len() > 4, "{noisy}");
    assert!(noisy["shared"][0][1] == "rw-s" && noisy["modes"] != reference["modes"], "{noisy}");

    let plain = vec![SELF.to_owned(); SIBLINGS];
    for seen in together(&server, &plain, "bare").into_iter().map(parse) {
        assert_eq!((&seen["files"], &seen["processes"]), (&json!([0, 1, 2, 3]), &json!([2])), "{seen}");
        assert_eq!((&seen["threads"], &seen["shared"]), (&"1".into(), &reference["shared"]), "{seen}");
        assert_eq!(seen["shared"], json!([]), "{seen}");
        for name in ["ids", "modes", "files_mapped"] {
            assert_eq!(seen[name], reference[name], "{name}: {seen}");
        }
        // Of the engine's pid namespace, which is no parent of the box's.
        assert_eq!(seen["parent"], 0, "{seen}");
    }
}

#[test]
fn proc_tells_constants_of_a_zygote_and_nothing_of_a_request() {
    if !require::default_tier() {
        return;
    }
    let server = server(&["bare"]);
    let code = "print(open('/proc/self/environ').read(), open('/proc/self/cmdline').read())";
    let told = |word: &str| {
        let body =
            json!({ "code": format!("{code}\n#{word}"), "args": [word], "env": { "WORD": word }, "stdin": word });
        let result = server.execute(&body).ok();
        assert_ne!(result["start"]["path"], "cold", "{result}");
        result["stdout"].as_str().unwrap().to_owned()
    };
    let first = told("geheimnis");
    assert_eq!(first, told("other"), "the same for every program");
    assert!(!first.contains("geheimnis") && first.contains("PATH=/opt/python/bin"), "{first}");
}
