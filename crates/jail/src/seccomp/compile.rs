//! From the table to a filter of classic BPF.

use std::collections::BTreeMap;

use super::rules::{Action, Condition, RULES, Rule, ZYGOTE_RULES};

/// One instruction: `struct sock_filter`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    code: u16,
    jump_true: u8,
    jump_false: u8,
    operand: u32,
}

// Source of the numbers: linux/bpf_common.h and linux/seccomp.h.
const LOAD_WORD: u16 = 0x20;
const AND: u16 = 0x54;
const JUMP_IF_EQUAL: u16 = 0x15;
const JUMP_IF_GREATER: u16 = 0x25;
const JUMP_IF_AT_LEAST: u16 = 0x35;
const JUMP_IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

const KILL_PROCESS: u32 = 0x8000_0000;
const USER_NOTIFICATION: u32 = 0x7FC0_0000;
const ERRNO: u32 = 0x0005_0000;
const TRACE: u32 = 0x7FF0_0000;
const ALLOW: u32 = 0x7FFF_0000;

// Offsets in struct seccomp_data.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Numbers from here on are x32 calls, which an x86-64 process can make without changing its architecture.
const X32: u32 = 0x4000_0000;

/// An architecture that filters can be compiled for, on any host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    X86_64,
    /// 64-bit ARM.
    Aarch64,
}

impl Architecture {
    /// The one this program was compiled for.
    #[cfg(target_arch = "x86_64")]
    pub const NATIVE: Self = Self::X86_64;
    /// The one this program was compiled for.
    #[cfg(target_arch = "aarch64")]
    pub const NATIVE: Self = Self::Aarch64;

    /// `AUDIT_ARCH_…` of linux/audit.h.
    const fn audit(self) -> u32 {
        match self {
            Self::X86_64 => 0xC000_003E,
            Self::Aarch64 => 0xC000_00B7,
        }
    }

    /// Name of a call.
    pub fn name(self, number: u32) -> Option<&'static str> {
        let number = usize::try_from(number).ok()?;
        match self {
            Self::X86_64 => syscalls::x86_64::Sysno::new(number).map(|call| call.name()),
            Self::Aarch64 => syscalls::aarch64::Sysno::new(number).map(|call| call.name()),
        }
    }

    /// All calls that the kernel is known to have, by number.
    fn calls(self) -> BTreeMap<u32, &'static str> {
        // Both tables end below 500; a kernel adds at the end.
        (0..1024).filter_map(|number| self.name(number).map(|name| (number, name))).collect()
    }
}

/// A filter, as far as it is not the same for all.
#[derive(Clone, Copy)]
struct Purpose {
    /// Rules that come before those of the table.
    first: &'static [Rule],
    /// What the kernel does with a call that is refused.
    refused: u32,
}

/// For programs: the listener hears of refused calls.
const PROGRAM: Purpose = Purpose { first: &[], refused: USER_NOTIFICATION };
/// For zygotes. Their filter stays in force in their workers, under the worker's own, and of two answers the kernel takes
/// the stricter one: without a tracer this one fails the call, and is less strict than the listener's.
const ZYGOTE: Purpose = Purpose { first: ZYGOTE_RULES, refused: TRACE };

/// Compiles the table for programs.
pub fn compile(architecture: Architecture) -> Vec<Instruction> {
    compile_for(architecture, PROGRAM)
}

/// Compiles the table for zygotes, which may make a few calls more.
pub fn compile_for_zygote(architecture: Architecture) -> Vec<Instruction> {
    compile_for(architecture, ZYGOTE)
}

fn compile_for(architecture: Architecture, purpose: Purpose) -> Vec<Instruction> {
    let mut filter =
        vec![load(ARCHITECTURE), jump(JUMP_IF_EQUAL, architecture.audit(), 1, 0), ret(KILL_PROCESS), load(NUMBER)];
    if architecture == Architecture::X86_64 {
        filter.extend([jump(JUMP_IF_AT_LEAST, X32, 0, 1), ret(KILL_PROCESS)]);
    }
    for (last, body) in segments(architecture, purpose) {
        // Bodies are a handful of instructions, except for the conditional ones, which a test keeps below 255.
        let length = u8::try_from(body.len()).unwrap_or(u8::MAX);
        filter.push(jump(JUMP_IF_GREATER, last, length, 0));
        filter.extend(body);
    }
    filter.push(ret(ERRNO | libc::ENOSYS.cast_unsigned()));
    filter
}

/// Ranges of numbers in ascending order, each with its last number and what to do. They leave no gap: the numbers in
/// between that no call has belong to a range of their own.
fn segments(architecture: Architecture, purpose: Purpose) -> Vec<(u32, Vec<Instruction>)> {
    let calls = architecture.calls();
    // Built once: a search of the whole table for each call takes longer than everything else about a filter.
    let mut rules: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for rule in purpose.first.iter().chain(RULES) {
        for call in rule.calls {
            rules.entry(call).or_default().push(rule);
        }
    }
    let Some(highest) = calls.last_key_value().map(|(number, _)| *number) else {
        return Vec::new();
    };
    let mut segments: Vec<(u32, Vec<Instruction>)> = Vec::new();
    for number in 0..=highest {
        let body = match calls.get(&number) {
            Some(name) => decide(rules.get(name).map_or(&[], Vec::as_slice), purpose),
            None => vec![ret(ERRNO | libc::ENOSYS.cast_unsigned())],
        };
        match segments.last_mut() {
            Some((last, previous)) if *previous == body => *last = number,
            _ => segments.push((number, body)),
        }
    }
    segments
}

/// What to do with a call that `rules` name, its number being known.
fn decide(rules: &[&Rule], purpose: Purpose) -> Vec<Instruction> {
    let mut body = Vec::new();
    for rule in rules {
        body.extend(check(rule, purpose));
        if rule.when.is_empty() {
            return body;
        }
    }
    body.push(ret(purpose.verdict(Action::Refuse)));
    body
}

/// One rule: its conditions, then its action; a condition that fails jumps behind it.
fn check(rule: &Rule, purpose: Purpose) -> Vec<Instruction> {
    let mut code = vec![ret(purpose.verdict(rule.action))];
    // From the last condition to the first, so that the distance to the end is known.
    for condition in rule.when.iter().rev() {
        let mut test = test(*condition, code.len());
        test.append(&mut code);
        code = test;
    }
    code
}

/// Instructions that fall through when `condition` holds, and otherwise jump over the `rest` that follows.
fn test(condition: Condition, rest: usize) -> Vec<Instruction> {
    match condition {
        Condition::OneOf(argument, values) => compare(argument, u64::MAX, values, rest),
        Condition::MaskedOneOf(argument, ignored, values) => compare(argument, !ignored, values, rest),
        Condition::Clear(argument, bits) => {
            let (low, high) = halves(bits);
            vec![
                load(argument_offset(argument)),
                jump(JUMP_IF_ANY_BIT, low, distance(rest + 2), 0),
                load(argument_offset(argument) + 4),
                jump(JUMP_IF_ANY_BIT, high, distance(rest), 0),
            ]
        }
    }
}

/// All values in the table fit 32 bits, so the upper half must be zero after masking; then the lower half is compared.
fn compare(argument: u8, mask: u64, values: &[u64], rest: usize) -> Vec<Instruction> {
    let (low_mask, high_mask) = halves(mask);
    let count = values.len();
    let mut code = vec![
        load(argument_offset(argument) + 4),
        Instruction { code: AND, jump_true: 0, jump_false: 0, operand: high_mask },
        jump(JUMP_IF_EQUAL, 0, 0, distance(2 + count + rest)),
        load(argument_offset(argument)),
        Instruction { code: AND, jump_true: 0, jump_false: 0, operand: low_mask },
    ];
    for (index, value) in values.iter().enumerate() {
        let left = count - index - 1;
        let miss = if left == 0 { distance(rest) } else { 0 };
        code.push(jump(JUMP_IF_EQUAL, halves(*value).0, distance(left), miss));
    }
    code
}

impl Purpose {
    const fn verdict(self, action: Action) -> u32 {
        match action {
            Action::Allow => ALLOW,
            Action::Quiet(errno) => ERRNO | errno.cast_unsigned(),
            Action::Refuse => self.refused,
        }
    }
}

impl Instruction {
    /// As the kernel reads it.
    pub fn to_bytes(self) -> [u8; 8] {
        let word = u64::from(self.code)
            | u64::from(self.jump_true) << 16
            | u64::from(self.jump_false) << 24
            | u64::from(self.operand) << 32;
        // Little-endian, as both architectures are.
        word.to_le_bytes()
    }
}

/// Little-endian machines only, as both architectures are: the lower half comes first.
fn argument_offset(argument: u8) -> u32 {
    ARGUMENTS + 8 * u32::from(argument)
}

#[expect(clippy::cast_possible_truncation, reason = "taking the halves of a word is the point")]
const fn halves(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

/// A jump's distance. The longest chain of conditions in the table is far below 255; a test compiles it.
fn distance(instructions: usize) -> u8 {
    u8::try_from(instructions).unwrap_or(u8::MAX)
}

const fn load(offset: u32) -> Instruction {
    Instruction { code: LOAD_WORD, jump_true: 0, jump_false: 0, operand: offset }
}

const fn jump(code: u16, operand: u32, jump_true: u8, jump_false: u8) -> Instruction {
    Instruction { code, jump_true, jump_false, operand }
}

const fn ret(value: u32) -> Instruction {
    Instruction { code: RETURN, jump_true: 0, jump_false: 0, operand: value }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What a filter answers: an interpreter of the instructions above, independent of how they were made.
    fn run(filter: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let mut data = [0_u8; 64];
        data[0..4].copy_from_slice(&number.to_le_bytes());
        data[4..8].copy_from_slice(&architecture.to_le_bytes());
        for (index, argument) in arguments.iter().enumerate() {
            data[16 + 8 * index..24 + 8 * index].copy_from_slice(&argument.to_le_bytes());
        }
        let (mut accumulator, mut counter) = (0_u32, 0_usize);
        for _step in 0..filter.len() {
            let instruction = filter[counter];
            counter += 1;
            let taken = match instruction.code {
                LOAD_WORD => {
                    let offset = instruction.operand as usize;
                    accumulator = u32::from_le_bytes(data[offset..offset + 4].try_into().unwrap());
                    continue;
                }
                AND => {
                    accumulator &= instruction.operand;
                    continue;
                }
                RETURN => return instruction.operand,
                JUMP_IF_EQUAL => accumulator == instruction.operand,
                JUMP_IF_GREATER => accumulator > instruction.operand,
                JUMP_IF_AT_LEAST => accumulator >= instruction.operand,
                JUMP_IF_ANY_BIT => accumulator & instruction.operand != 0,
                code => panic!("unknown instruction {code:#x}"),
            };
            counter += usize::from(if taken { instruction.jump_true } else { instruction.jump_false });
        }
        panic!("the filter does not end")
    }

    fn number(architecture: Architecture, name: &str) -> u32 {
        *architecture.calls().iter().find(|(_, known)| **known == name).unwrap_or_else(|| panic!("{name}")).0
    }

    fn ask(architecture: Architecture, name: &str, arguments: [u64; 6]) -> u32 {
        run(&compile(architecture), architecture.audit(), number(architecture, name), arguments)
    }

    const BOTH: [Architecture; 2] = [Architecture::X86_64, Architecture::Aarch64];
    const EPERM: u32 = ERRNO + 1;
    const ENOSYS: u32 = ERRNO + 38;
    const ENOTTY: u32 = ERRNO + 25;
    const EAFNOSUPPORT: u32 = ERRNO + 97;
    const SIGCHLD: u64 = 0x11;

    #[test]
    fn every_unconditional_rule_is_what_the_filter_answers() {
        for architecture in BOTH {
            let known = architecture.calls();
            for rule in RULES.iter().filter(|rule| rule.when.is_empty()) {
                for call in rule.calls.iter().filter(|call| known.values().any(|name| name == *call)) {
                    let conditional = RULES.iter().any(|rule| !rule.when.is_empty() && rule.calls.contains(call));
                    if !conditional {
                        assert_eq!(ask(architecture, call, [0; 6]), PROGRAM.verdict(rule.action), "{call}");
                    }
                }
            }
        }
    }

    #[test]
    fn every_call_in_the_table_exists_somewhere_and_has_a_reason() {
        for rule in RULES {
            assert!(rule.reason.len() > 3);
            for call in rule.calls {
                let newer_than_the_table = ["riscv_hwprobe", "rseq_slice_yield"].contains(call);
                let exists = BOTH.iter().any(|architecture| architecture.calls().values().any(|name| name == call));
                assert!(exists || newer_than_the_table, "{call} is no system call");
            }
        }
    }

    #[test]
    fn what_must_be_refused_is_refused_on_both_architectures() {
        let refused = [
            "ptrace",
            "process_vm_readv",
            "process_vm_writev",
            "kcmp",
            "pidfd_getfd",
            "process_madvise",
            "unshare",
            "setns",
            "mount",
            "umount2",
            "pivot_root",
            "chroot",
            "fsopen",
            "fsmount",
            "fspick",
            "fsconfig",
            "move_mount",
            "open_tree",
            "mount_setattr",
            "io_uring_setup",
            "io_uring_enter",
            "io_uring_register",
            "userfaultfd",
            "bpf",
            "perf_event_open",
            "keyctl",
            "add_key",
            "request_key",
            "open_by_handle_at",
            "name_to_handle_at",
            "fanotify_init",
            "fanotify_mark",
            "init_module",
            "finit_module",
            "delete_module",
            "kexec_load",
            "reboot",
            "swapon",
            "swapoff",
            "acct",
            "quotactl",
            "syslog",
            "migrate_pages",
            "move_pages",
            "settimeofday",
            "clock_settime",
            "adjtimex",
            "clock_adjtime",
            "sethostname",
            "setdomainname",
            "memfd_secret",
            "splice",
            "tee",
            "vmsplice",
            "shmget",
            "msgget",
            "semget",
            "mq_open",
            "setuid",
            "setgid",
            "setresuid",
            "setgroups",
            "setfsuid",
            "capset",
            "seccomp",
            "io_setup",
        ];
        for architecture in BOTH {
            for call in refused {
                assert_eq!(ask(architecture, call, [0; 6]), USER_NOTIFICATION, "{call}");
            }
        }
        for call in ["iopl", "ioperm", "modify_ldt"] {
            assert_eq!(ask(Architecture::X86_64, call, [0; 6]), USER_NOTIFICATION, "{call}");
        }
    }

    #[test]
    fn foreign_architectures_end_the_process_and_unknown_calls_do_not_exist() {
        let filter = compile(Architecture::X86_64);
        let i386 = 0x4000_0003;
        assert_eq!(run(&filter, i386, 11, [0; 6]), KILL_PROCESS);
        assert_eq!(run(&filter, Architecture::X86_64.audit(), X32, [0; 6]), KILL_PROCESS);
        assert_eq!(run(&filter, Architecture::X86_64.audit(), u32::MAX, [0; 6]), KILL_PROCESS);
        for architecture in BOTH {
            let filter = compile(architecture);
            for unknown in [400, 900, 0x3FFF_FFFF] {
                assert_eq!(run(&filter, architecture.audit(), unknown, [0; 6]), ENOSYS);
            }
            assert_eq!(ask(architecture, "clone3", [0; 6]), ENOSYS);
        }
    }

    #[test]
    fn conditions_look_at_all_bits() {
        for architecture in BOTH {
            let socket = |family: u64, kind: u64| ask(architecture, "socket", [family, kind, 0, 0, 0, 0]);
            assert_eq!(socket(AF::UNIX, 1), ALLOW);
            assert_eq!(socket(AF::INET, 1 | 0x8_0800), ALLOW);
            assert_eq!(socket(AF::INET6, 2), ALLOW);
            assert_eq!(socket(AF::INET, 3), USER_NOTIFICATION, "raw");
            assert_eq!(socket(AF::NETLINK, 3), EAFNOSUPPORT);
            for family in [17, 38, 40] {
                assert_eq!(socket(family, 1), USER_NOTIFICATION, "{family}");
            }
            assert_eq!(socket(AF::UNIX | 1 << 32, 1), USER_NOTIFICATION, "upper half of the family");
            assert_eq!(socket(AF::UNIX, 1 | 1 << 40), USER_NOTIFICATION, "upper half of the type");

            assert_eq!(ask(architecture, "clone", [SIGCHLD, 0, 0, 0, 0, 0]), ALLOW);
            for namespace in [0x80, 0x2_0000, 0x200_0000, 0x400_0000, 0x800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000]
            {
                assert_eq!(ask(architecture, "clone", [SIGCHLD | namespace, 0, 0, 0, 0, 0]), USER_NOTIFICATION);
            }

            let ioctl = |request: u64| ask(architecture, "ioctl", [1, request, 0, 0, 0, 0]);
            assert_eq!(ioctl(0x5401), ALLOW);
            assert_eq!(ioctl(0x5412), USER_NOTIFICATION);
            assert_eq!(ioctl(0x5412 | 1 << 32), ENOTTY);
            assert_eq!(ioctl(0x1234), ENOTTY);

            assert_eq!(ask(architecture, "mknodat", [0, 0, 0o010_600, 0, 0, 0]), ALLOW);
            assert_eq!(ask(architecture, "mknodat", [0, 0, 0o060_600, 0, 0, 0]), USER_NOTIFICATION);
            assert_eq!(ask(architecture, "prlimit64", [1, 0, 0, 0, 0, 0]), USER_NOTIFICATION);
            assert_eq!(ask(architecture, "prlimit64", [0, 4, 0, 8, 0, 0]), ALLOW, "asking for the core limit");
            assert_eq!(ask(architecture, "prlimit64", [0, 4, 8, 0, 0, 0]), EPERM, "setting it");
            assert_eq!(ask(architecture, "prlimit64", [0, 4 | 1 << 32, 8, 0, 0, 0]), EPERM, "upper half");
            assert_eq!(ask(architecture, "setrlimit", [4, 8, 0, 0, 0, 0]), EPERM);
            assert_eq!(ask(architecture, "setrlimit", [7, 8, 0, 0, 0, 0]), ALLOW);
            assert_eq!(ask(architecture, "mmap", [0, 4096, 3, 0x22, 0, 0]), ALLOW);
            assert_eq!(ask(architecture, "mmap", [0, 4096, 3, 0x4_0022, 0, 0]), ERRNO + 12, "huge pages");
            assert_eq!(ask(architecture, "fcntl", [3, 1026, 0, 0, 0, 0]), ERRNO + 22, "F_NOTIFY");
            assert_eq!(ask(architecture, "inotify_init1", [0; 6]), ENOSYS);
            assert_eq!(ask(architecture, "socket", [2, 1, 262, 0, 0, 0]), USER_NOTIFICATION, "MPTCP");
            assert_eq!(ask(architecture, "personality", [0x0004_0000, 0, 0, 0, 0, 0]), USER_NOTIFICATION);
            assert_eq!(ask(architecture, "vhangup", [0; 6]), ERRNO + 33);
        }
    }

    #[test]
    fn the_filter_is_small_enough_for_the_kernel_and_its_jumps_for_a_byte() {
        for architecture in BOTH {
            assert!(compile(architecture).len() < 4096);
            for purpose in [PROGRAM, ZYGOTE] {
                assert!(segments(architecture, purpose).iter().all(|(_, body)| body.len() < 255));
            }
        }
    }

    struct AF;
    impl AF {
        const UNIX: u64 = 1;
        const INET: u64 = 2;
        const INET6: u64 = 10;
        const NETLINK: u64 = 16;
    }

    proptest! {
        #[test]
        fn every_input_gets_an_answer(number: u32, audit: u32, arguments: [u64; 6]) {
            for architecture in BOTH {
                let filter = compile(architecture);
                run(&filter, audit, number, arguments);
                run(&filter, architecture.audit(), number % 512, arguments);
            }
        }
    }
}
