//! The packages in a clean root: installed, run as their unit runs them, and the tour on top.
//!
//! `mmdebstrap` makes a small Debian in a folder; the packages are installed there, and the agent
//! is started there with its own configuration, as its own user, in a network that has nothing but
//! loopback. Then a script does what the five minutes of the README do, with the clients of that
//! Debian. Needs root, and Debian's packages.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::{clear, put, write, wrong};
use crate::process::{self, said};
use crate::{Failure, repository};

/// What the tour needs, beside what every Debian has.
const PACKAGES: &str = "curl,bind9-dnsutils,iproute2,procps";
const RELEASE: &str = "bookworm";
const TOUR_TIME_MAX: Duration = Duration::from_secs(120);

/// Tries the packages.
pub(super) fn run(out: &Path, packages: &[PathBuf]) -> Result<(), Failure> {
    for program in ["mmdebstrap", "unshare"] {
        if !process::is_on_path(program) {
            return Err(Failure::NotInOrder(format!(
                "{program} is needed; as root: apt-get install mmdebstrap util-linux"
            )));
        }
    }
    let root = out.join("root");
    clear(&root)?;
    println!("package: a clean {RELEASE} in {}", root.display());
    let include = format!("--include={PACKAGES}");
    let mut make = Command::new("mmdebstrap");
    make.args(["--quiet", "--variant=minbase", &include, RELEASE]).arg(&root);
    said(&mut make)?;
    let mut install = Command::new("chroot");
    install.arg(&root).args(["dpkg", "-i"]);
    for package in packages {
        let name = package.file_name().expect("a package has a name");
        put(package, &root.join("tmp").join(name), 0o644)?;
        install.arg(Path::new("/tmp").join(name));
    }
    said(&mut install)?;
    tour(out, &root)?;
    said(Command::new("chroot").arg(&root).args(["dpkg", "--purge", "muster-consul", "muster"]))?;
    let rest = ["usr/bin/muster", "usr/bin/consul", "etc/muster", "var/lib/muster"];
    if let Some(left) = rest.iter().find(|path| root.join(path).exists()) {
        return Err(Failure::NotInOrder(format!("the purge left /{left} behind")));
    }
    println!("package: installed, toured and purged");
    clear(&root)
}

fn tour(out: &Path, root: &Path) -> Result<(), Failure> {
    let script = repository::root().join("packaging/tour.sh");
    let text = fs::read_to_string(&script).map_err(|error| wrong(&script, &error))?;
    write(&root.join("tmp/tour.sh"), &text)?;
    let log = out.join("tour.log");
    let mut command = Command::new("unshare");
    command.args(["--net", "--pid", "--fork", "--mount", "sh", "-c"]);
    // Devices and processes as every Debian has them, gone with the process that sees them.
    command.arg(
        "mount -t proc proc \"$0/proc\" && mount --rbind /dev \"$0/dev\" \
         && exec chroot \"$0\" sh /tmp/tour.sh",
    );
    command.arg(root);
    let ended = process::run(&mut command, TOUR_TIME_MAX, &log);
    let ended = ended.map_err(|error| wrong(&log, &error))?;
    print!("{}", process::tail(&log, usize::MAX));
    println!();
    match ended.is_success() {
        true => Ok(()),
        false => Err(Failure::NotInOrder("the tour in the clean root failed".to_owned())),
    }
}
