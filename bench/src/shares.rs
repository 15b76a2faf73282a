//! Where the time of a work goes, by parts of the house and of the kernel.
//!
//! A sample of a profile counts for the innermost of its frames that names a part: time in the kernel
//! for the kind of system call, copying and allocating for who asked for it.

use std::collections::HashMap;

/// Parts by the crates that they are made of.
const CRATES: [(&str, &str); 24] = [
    ("muster_front_consul", "front-end"),
    ("muster_front_dns", "front-end"),
    ("muster_front_eureka", "front-end"),
    ("muster", "front-end"),
    ("serde_json", "JSON"),
    ("muster_listen", "HTTP"),
    ("hyper", "HTTP"),
    ("hyper_util", "HTTP"),
    ("http", "HTTP"),
    ("httparse", "HTTP"),
    ("h2", "HTTP"),
    ("muster_registry", "agent"),
    ("muster_agent", "agent"),
    ("muster_health", "agent"),
    ("muster_state", "state"),
    ("muster_model", "state"),
    ("imbl", "state"),
    ("muster_consensus", "consensus"),
    ("openraft", "consensus"),
    ("muster_rpc", "between servers"),
    ("muster_gossip", "between servers"),
    ("tokio", "runtime"),
    ("mio", "runtime"),
    ("muster_world", "runtime"),
];

/// Parts of the kernel by words in the names of its functions; the first that occurs in a system call
/// decides.
const CALLS: [(&str, &str); 13] = [
    ("sync", "kernel: disk"),
    ("ext4", "kernel: disk"),
    ("pwrite", "kernel: disk"),
    ("futex", "kernel: waking and waiting"),
    ("epoll", "kernel: waking and waiting"),
    ("eventfd", "kernel: waking and waiting"),
    ("sock", "kernel: sockets"),
    ("tcp", "kernel: sockets"),
    ("udp", "kernel: sockets"),
    ("readv", "kernel: sockets"),
    ("writev", "kernel: sockets"),
    ("recv", "kernel: sockets"),
    ("send", "kernel: sockets"),
];
const PAGE_FAULT: &str = "kernel: memory";
const NO_CALL: &str = "kernel: the rest";
const NO_PART: &str = "the rest";

/// How many samples each part has, the greatest first.
pub(crate) fn shares(folded: &str) -> Vec<(&'static str, u64)> {
    let mut parts: HashMap<&'static str, u64> = HashMap::new();
    for line in folded.lines() {
        let Some((stack, count)) = line.rsplit_once(' ') else { continue };
        let Ok(count) = count.parse::<u64>() else { continue };
        *parts.entry(part_of(stack)).or_default() += count;
    }
    let mut parts: Vec<_> = parts.into_iter().collect();
    parts.sort_by_key(|(part, count)| (std::cmp::Reverse(*count), *part));
    parts
}

/// The part that a stack counts for; its outermost frame comes first.
fn part_of(stack: &str) -> &'static str {
    let mut inner = stack.len();
    for frame in stack.rsplit(';') {
        inner = inner.saturating_sub(frame.len() + 1);
        match frame {
            "do_syscall_64" => return call_part(&stack[inner..]),
            "asm_exc_page_fault" => return PAGE_FAULT,
            _ if frame.starts_with("asm_") => return NO_CALL,
            _ => {}
        }
        if let Some(part) = crate_part(frame) {
            return part;
        }
    }
    NO_PART
}

/// The part that a system call works for.
fn call_part(frames: &str) -> &'static str {
    let known = CALLS.iter().find(|(word, _)| frames.contains(word));
    known.map_or(NO_CALL, |(_, part)| part)
}

/// The part that the first known crate in a frame's name belongs to.
fn crate_part(frame: &str) -> Option<&'static str> {
    let mut rest = frame;
    while let Some(end) = rest.find("::") {
        let name = rest[..end].rsplit(|c: char| !c.is_alphanumeric() && c != '_').next();
        let part = CRATES.iter().find(|(own, _)| name == Some(own)).map(|(_, part)| *part);
        if part.is_some() {
            return part;
        }
        rest = &rest[end + 2..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_counts_for_its_innermost_named_frame() {
        for (stack, part) in [
            ("w;tokio::run;hyper::poll;core::fmt::write", "HTTP"),
            (
                "w;hyper::poll;<muster_front_consul::front::Serving as F>::poll;mi_malloc",
                "front-end",
            ),
            ("w;<alloc::Box<T> as muster_state::X>::y;memmove", "state"),
            ("w;hyper::poll;writev;do_syscall_64;do_writev;tcp_sendmsg;memcpy", "kernel: sockets"),
            (
                "w;muster_consensus::wal;do_syscall_64;__x64_sys_fdatasync;ext4_sync_file",
                "kernel: disk",
            ),
            (
                "w;tokio::park;do_syscall_64;__x64_sys_epoll_wait;ep_poll;tcp_poll",
                "kernel: waking and waiting",
            ),
            ("w;hyper::poll;memset;asm_exc_page_fault;clear_page", "kernel: memory"),
            ("w;asm_sysvec_apic_timer_interrupt;x", "kernel: the rest"),
            ("w;start_thread", "the rest"),
        ] {
            assert_eq!(part_of(stack), part, "{stack}");
        }
    }

    #[test]
    fn parts_are_summed_and_the_greatest_comes_first() {
        let folded = "w;hyper::a 2\nw;openraft::b 5\nw;muster_listen::c 1\nno count here\n";
        assert_eq!(shares(folded), [("consensus", 5), ("HTTP", 3)]);
    }
}
