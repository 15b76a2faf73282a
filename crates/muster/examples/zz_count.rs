#![allow(unsafe_code)]
#![allow(clippy::all)]
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
struct C;
const N: usize = 70_000;
static LIVE: [AtomicI64; N] = [const { AtomicI64::new(0) }; N];
unsafe impl GlobalAlloc for C {
    unsafe fn alloc(&self, l: Layout) -> *mut u8 { LIVE[l.size().min(N-1)].fetch_add(1, Relaxed); unsafe { System.alloc(l) } }
    unsafe fn dealloc(&self, p: *mut u8, l: Layout) { LIVE[l.size().min(N-1)].fetch_sub(1, Relaxed); unsafe { System.dealloc(p, l) } }
}
#[global_allocator]
static A: C = C;
fn main() -> std::process::ExitCode {
    std::thread::spawn(|| { let mut last: Vec<i64> = vec![0; N]; loop {
        std::thread::sleep(std::time::Duration::from_millis(200));
        if std::fs::remove_file("/tmp/dump").is_ok() {
            eprintln!("== dump");
            for i in 0..N { let now = LIVE[i].load(Relaxed); let d = now - last[i]; if d.abs() >= 300 { eprintln!("{i} B: {d} live, {} B", d * i as i64); } last[i] = now; }
        } } });
    muster::cli::main(muster::life::run)
}
