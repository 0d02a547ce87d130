//! The few functions of the interpreter that the native code needs, all of its stable ABI, and what it offers to it.

use core::{
    ffi::{CStr, c_char, c_int, c_long, c_void},
    ptr::{null, null_mut},
};

/// An object of the interpreter.
#[repr(C)]
pub struct Object {
    _opaque: [u8; 0],
}

type Function = unsafe extern "C" fn(*mut Object, *mut Object) -> *mut Object;

#[repr(C)]
struct Method {
    name: *const c_char,
    function: Option<Function>,
    flags: c_int,
    doc: *const c_char,
}

/// `PyModuleDef` of an interpreter with a GIL: reference count and type come first.
#[repr(C)]
struct ModuleDefinition {
    references: isize,
    kind: *mut c_void,
    init: *mut c_void,
    index: isize,
    copy: *mut Object,
    name: *const c_char,
    doc: *const c_char,
    size: isize,
    methods: *const Method,
    slots: *mut c_void,
    traverse: *mut c_void,
    clear: *mut c_void,
    free: *mut c_void,
}

unsafe extern "C" {
    fn PyModuleDef_Init(definition: *mut ModuleDefinition) -> *mut Object;
    fn PyErr_SetString(kind: *mut Object, message: *const c_char);
    fn PyErr_ExceptionMatches(kind: *mut Object) -> c_int;
    fn PyErr_NormalizeException(kind: *mut *mut Object, value: *mut *mut Object, trace: *mut *mut Object);
    fn PyErr_Restore(kind: *mut Object, value: *mut Object, trace: *mut Object);
    fn PyErr_Occurred() -> *mut Object;
    fn PyErr_Clear();
    fn PyErr_WriteUnraisable(object: *mut Object);
    fn PyErr_Fetch(kind: *mut *mut Object, value: *mut *mut Object, trace: *mut *mut Object);
    fn PyErr_Print();
    fn PyEval_EvalCode(code: *mut Object, globals: *mut Object, locals: *mut Object) -> *mut Object;
    fn Py_CompileString(source: *const c_char, file: *const c_char, start: c_int) -> *mut Object;
    fn PyImport_AddModule(name: *const c_char) -> *mut Object;
    fn PyModule_GetDict(module: *mut Object) -> *mut Object;
    fn PyImport_ImportModule(name: *const c_char) -> *mut Object;
    fn PyObject_GetAttrString(object: *mut Object, name: *const c_char) -> *mut Object;
    fn PyObject_CallFunctionObjArgs(function: *mut Object, ...) -> *mut Object;
    fn PyLong_FromLong(value: c_long) -> *mut Object;
    fn PyLong_AsLong(object: *mut Object) -> c_long;
    fn PyBytes_FromStringAndSize(bytes: *const c_char, length: isize) -> *mut Object;
    fn PyBytes_AsStringAndSize(object: *mut Object, bytes: *mut *mut c_char, length: *mut isize) -> c_int;
    fn PyTuple_GetItem(tuple: *mut Object, place: isize) -> *mut Object;
    fn PySys_GetObject(name: *const c_char) -> *mut Object;
    fn Py_IncRef(object: *mut Object);
    fn Py_DecRef(object: *mut Object);
    fn Py_LeaveRecursiveCall();
    fn Py_FinalizeEx() -> c_int;
    fn PyOS_setsig(number: c_int, handler: *const c_void) -> *const c_void;
    fn PyOS_BeforeFork();
    fn PyOS_AfterFork_Parent();
    fn PyOS_AfterFork_Child();
    static PyExc_ImportError: *mut Object;
    static PyExc_KeyboardInterrupt: *mut Object;
    static PyExc_SystemExit: *mut Object;
    static mut _Py_NoneStruct: Object;
    /// The C library's, of the interpreter's own.
    fn fflush(file: *mut c_void) -> c_int;
}

/// Runs what the interpreter must do before a fork.
pub fn before_fork() {
    // SAFETY: the one thread of this process holds the GIL: everything here runs inside a call of the interpreter.
    unsafe { PyOS_BeforeFork() }
}

/// The same after it, in the process that forked.
pub fn after_fork_in_parent() {
    // SAFETY: as in `before_fork`, which was called before.
    unsafe { PyOS_AfterFork_Parent() }
}

/// The same in the process that was forked.
pub fn after_fork_in_child() {
    // SAFETY: as in `before_fork`, which was called before.
    unsafe { PyOS_AfterFork_Child() }
}

/// The module of Python functions that belongs to this one, once it is known.
static mut GUEST: *mut Object = null_mut();

/// Finds the guest, which programs do not see among their modules later.
pub fn find_guest() -> bool {
    // SAFETY: the name ends with a NUL.
    let module = unsafe { PyImport_ImportModule(c"_sandbox_zygote".as_ptr()) };
    // SAFETY: one thread, under the GIL.
    unsafe { GUEST = module };
    some_or_print(module).is_some()
}

/// Calls the guest's function `name`; an exception is printed, and nothing returned.
pub fn call(name: &CStr, arguments: &[*mut Object]) -> Option<*mut Object> {
    // SAFETY: one thread, under the GIL; the object is never released.
    let guest = unsafe { GUEST };
    if guest.is_null() {
        return None;
    }
    // SAFETY: `guest` is a live object, the name ends with a NUL.
    let function = some_or_print(unsafe { PyObject_GetAttrString(guest, name.as_ptr()) })?;
    let at = |index: usize| arguments.get(index).copied().unwrap_or(null_mut());
    // SAFETY: all arguments are live objects; a null pointer ends them.
    some_or_print(unsafe { PyObject_CallFunctionObjArgs(function, at(0), at(1), null_mut::<Object>()) })
}

fn some_or_print(object: *mut Object) -> Option<*mut Object> {
    if object.is_null() {
        // SAFETY: a null pointer means that an exception is set.
        unsafe { PyErr_Print() };
        return None;
    }
    Some(object)
}

pub fn number(value: i32) -> *mut Object {
    // SAFETY: no preconditions. None of the few numbers that are asked for fails.
    unsafe { PyLong_FromLong(c_long::from(value)) }
}

pub fn as_number(object: *mut Object) -> i32 {
    // SAFETY: the object is live.
    unsafe { PyLong_AsLong(object) as i32 }
}

pub fn bytes(content: &[u8]) -> *mut Object {
    // SAFETY: the pointer is valid for the length.
    unsafe { PyBytes_FromStringAndSize(content.as_ptr().cast(), content.len() as isize) }
}

/// The content of a bytes object, as long as that lives; nothing of any other.
pub fn as_bytes<'a>(object: *mut Object) -> &'a [u8] {
    let (mut start, mut length) = (null_mut(), 0);
    // SAFETY: the object is live, and both pointers are valid for writes.
    if unsafe { PyBytes_AsStringAndSize(object, &raw mut start, &raw mut length) } != 0 {
        return &[];
    }
    // SAFETY: the interpreter has just said where the object's bytes are; the objects that this is asked of are kept.
    unsafe { core::slice::from_raw_parts(start.cast::<u8>(), length as usize) }
}

pub fn none() -> *mut Object {
    &raw mut _Py_NoneStruct
}

/// Gives up a reference. Null is none.
fn release(object: *mut Object) {
    // SAFETY: the reference is the caller's, who does not use it any more.
    unsafe { Py_DecRef(object) }
}

/// How a program ended.
pub enum End {
    /// It reached its end.
    Returned,
    /// By this `SystemExit`.
    Exited(*mut Object),
    /// By an exception, which was printed.
    Raised,
    /// By Ctrl-C, likewise.
    Interrupted,
}

/// Compiles `source`, which ends with a NUL, and executes it as `__main__`, with no frame of Python above it: tracebacks
/// and `sys._getframe` are those of a fresh interpreter.
pub fn run_main(source: &[u8]) -> End {
    const FILE_INPUT: c_int = 257;
    // Whoever called `serve` counted it as a call. It does not return, and the program has as many as in a fresh one.
    // SAFETY: that count is one or more.
    unsafe { Py_LeaveRecursiveCall() };
    // SAFETY: both texts end with a NUL.
    let code = unsafe { Py_CompileString(source.as_ptr().cast(), c"/work/main.py".as_ptr(), FILE_INPUT) };
    let mut interrupted = false;
    if !code.is_null() {
        // SAFETY: the interpreter has had a `__main__` since it started.
        let main = unsafe { PyImport_AddModule(c"__main__".as_ptr()) };
        // It lives as long as the program, whatever that does to the list of modules.
        // SAFETY: null, or a live object.
        unsafe { Py_IncRef(main) };
        // SAFETY: that is a module, if it is anything.
        let globals = if main.is_null() { main } else { unsafe { PyModule_GetDict(main) } };
        if !globals.is_null() {
            // SAFETY: both are live objects.
            let result = unsafe { PyEval_EvalCode(code, globals, globals) };
            // This one only, none that is derived from it.
            // SAFETY: an exception of the interpreter's own.
            interrupted = result.is_null() && unsafe { PyErr_Occurred() == PyExc_KeyboardInterrupt };
            flush_streams();
            release(code);
            release(main);
            if !result.is_null() {
                release(result);
                return End::Returned;
            }
        }
    }
    // SAFETY: an exception of the interpreter's own; another one is set.
    if unsafe { PyErr_ExceptionMatches(PyExc_SystemExit) } != 0 {
        let [mut kind, mut value, mut trace] = [null_mut(); 3];
        // SAFETY: the three pointers are valid for writes.
        unsafe { PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut trace) };
        // SAFETY: the three are what was fetched.
        unsafe { PyErr_NormalizeException(&raw mut kind, &raw mut value, &raw mut trace) };
        release(kind);
        release(trace);
        return End::Exited(value);
    }
    // SAFETY: an exception is set. It is not the one that ends the process, unless the program's own hook raises that.
    unsafe { PyErr_Print() };
    if interrupted { End::Interrupted } else { End::Raised }
}

/// Flushes stderr and stdout, as an interpreter does after a file and before it prints an exception.
fn flush_streams() {
    let [mut kind, mut value, mut trace] = [null_mut(); 3];
    // SAFETY: the three pointers are valid for writes.
    unsafe { PyErr_Fetch(&raw mut kind, &raw mut value, &raw mut trace) };
    for name in [c"stderr", c"stdout"] {
        // SAFETY: the name ends with a NUL.
        let stream = unsafe { PySys_GetObject(name.as_ptr()) };
        if stream.is_null() {
            continue;
        }
        // SAFETY: a live object. It stays that while its own method runs.
        unsafe { Py_IncRef(stream) };
        // SAFETY: `stream` is live, the name ends with a NUL.
        let flush = unsafe { PyObject_GetAttrString(stream, c"flush".as_ptr()) };
        if !flush.is_null() {
            // SAFETY: a live object, and a null pointer in place of arguments.
            release(unsafe { PyObject_CallFunctionObjArgs(flush, null_mut::<Object>()) });
        }
        release(flush);
        release(stream);
        // SAFETY: no preconditions.
        unsafe { PyErr_Clear() };
    }
    // SAFETY: the three are what was fetched, and not used any more.
    unsafe { PyErr_Restore(kind, value, trace) };
}

/// Ends the program's interpreter as far as a program can notice; the exit code, if it does not end by a signal.
pub fn finish(end: End) -> i32 {
    let (status, exit) = match end {
        End::Returned => (0, none()),
        End::Exited(value) => (0, value),
        End::Raised => (1, none()),
        End::Interrupted => (2, none()),
    };
    for (get, set) in [(c"gettrace", c"settrace"), (c"getprofile", c"setprofile")] {
        if call(get, &[]).is_some_and(|function| function != none()) {
            let _ = call(set, &[none()]);
        }
    }
    let begun = call(c"finish", &[number(status), exit]);
    if exit != none() {
        release(exit);
    }
    let code = begun.and_then(|_| take_steps()).unwrap_or(120);
    // What code of C has printed.
    // SAFETY: null stands for all files.
    unsafe { fflush(null_mut()) };
    if status == 2 {
        // Whoever waits for this process is told that it was Ctrl-C.
        const SIGINT: i32 = 2;
        // SAFETY: null stands for what the kernel does by itself.
        unsafe { PyOS_setsig(SIGINT, null()) };
        crate::kernel::signal_self(SIGINT);
        return 128 + SIGINT;
    }
    code
}

/// Makes the calls that the guest names, one after the other; the exit code.
fn take_steps() -> Option<i32> {
    let mut outcome = none();
    loop {
        let step = call(c"step", &[outcome])?;
        // SAFETY: the object is live. It is a tuple, or null is returned.
        let at = |place| some_or_print(unsafe { PyTuple_GetItem(step, place) });
        let (function, object) = (at(0)?, at(1)?);
        if function == none() {
            let code = as_number(object);
            // SAFETY: the one call that ends the interpreter; nothing of it is used after that.
            let failed = as_number(at(2)?) != 0 && unsafe { Py_FinalizeEx() } < 0;
            return Some(if failed { 120 } else { code });
        }
        // SAFETY: a live object, and a null pointer in place of arguments.
        let result = unsafe { PyObject_CallFunctionObjArgs(function, null_mut::<Object>()) };
        outcome = number(i32::from(!result.is_null()));
        if result.is_null() && object != none() {
            // SAFETY: an exception is set, the object is live.
            unsafe { PyErr_WriteUnraisable(object) };
        } else {
            // SAFETY: no preconditions.
            unsafe { PyErr_Clear() };
        }
        release(result);
        release(step);
    }
}

/// The path hook that the interpreter asks of the program's path when all else is ready: from then on this process is
/// a zygote. Of any other path it says that it is not responsible.
unsafe extern "C" fn serve(_module: *mut Object, path: *mut Object) -> *mut Object {
    if find_guest() && call(c"is_program", &[path]).is_some_and(|answer| as_number(answer) == 1) {
        crate::serve();
    }
    // SAFETY: an exception of the interpreter's own and a text that ends with a NUL.
    unsafe { PyErr_SetString(PyExc_ImportError, c"not the program".as_ptr()) };
    null_mut()
}

const METH_O: c_int = 8;

struct Shared<T>(T);

// SAFETY: the interpreter changes the definition under its GIL only, and this code never after it has handed it over.
unsafe impl<T> Sync for Shared<T> {}

static METHODS: Shared<[Method; 2]> = Shared([
    Method { name: c"serve".as_ptr(), function: Some(serve), flags: METH_O, doc: null() },
    Method { name: null(), function: None, flags: 0, doc: null() },
]);

static mut DEFINITION: ModuleDefinition = ModuleDefinition {
    references: 1,
    kind: null_mut(),
    init: null_mut(),
    index: 0,
    copy: null_mut(),
    name: c"_sandbox_native".as_ptr(),
    doc: null(),
    size: 0,
    methods: METHODS.0.as_ptr(),
    slots: null_mut(),
    traverse: null_mut(),
    clear: null_mut(),
    free: null_mut(),
};

/// What the interpreter calls when it loads the module.
#[unsafe(no_mangle)]
pub extern "C" fn PyInit__sandbox_native() -> *mut Object {
    // SAFETY: the definition is the interpreter's from here on; this is called once.
    unsafe { PyModuleDef_Init(&raw mut DEFINITION) }
}
