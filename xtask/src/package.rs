//! `cargo xtask package`: what people install, from what is in the repository.
//!
//! - `target/package/muster_VERSION_ARCH.deb`: the binary, a systemd unit that locks it in, a
//!   folder for configuration, manual pages, completions, the documents.
//! - `muster-consul_VERSION_all.deb`: the link that answers to Consul's name, for who wants it.
//! - with `--static`, `static/muster`: a binary that needs no library, for `packaging/Containerfile`.
//! - with `--guided`, both from a build that is guided by a profile: see `release`.
//! - with `--smoke`, the packages are tried: see `smoke`.
//!
//! The packages are made by `dpkg-deb`. What the binary needs of the C library is read from it.

mod smoke;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{self, said};
use crate::release::{self, Release, clear};
use crate::{Failure, repository};

pub(crate) const SAYS: &str = "Makes Debian packages; --static also a static binary; --guided guides the build by a profile; \
     --smoke tries them in a clean root.";

/// The version of everything in the workspace.
const VERSION: &str = env!("CARGO_PKG_VERSION");
const MAINTAINER: &str = "The muster authors <muster@localhost>";

/// Entry of the chore.
pub(crate) fn run(arguments: &[String]) -> Result<(), Failure> {
    let (mut is_guided, mut is_static, mut is_smoke) = (false, false, false);
    for argument in arguments {
        match argument.as_str() {
            "--guided" => is_guided = true,
            "--static" => is_static = true,
            "--smoke" => is_smoke = true,
            other => return Err(Failure::Usage(format!("package has no {other:?}"))),
        }
    }
    let out = repository::root().join("target/package");
    fs::create_dir_all(&out).map_err(|error| wrong(&out, &error))?;
    for program in ["dpkg", "dpkg-deb", "strip", "gzip"] {
        if !process::is_on_path(program) {
            return Err(Failure::NotInOrder(format!(
                "{program} is needed; a Debian machine has it: apt-get install dpkg binutils gzip"
            )));
        }
    }
    let binary = release::build(Release { is_guided, is_static: false })?;
    let packages = [muster(&out, &binary)?, link(&out)?];
    for package in &packages {
        println!("package: {}", package.display());
    }
    if is_static {
        println!("package: {}", static_binary(&out, is_guided)?.display());
    }
    if is_smoke { smoke::run(&out, &packages) } else { Ok(()) }
}

fn wrong(path: &Path, error: &std::io::Error) -> Failure {
    Failure::NotInOrder(format!("{}: {error}", path.display()))
}

/// A binary with the C library inside. It still reads the machine's `/etc/resolv.conf` and asks its
/// name servers; directories of names that are libraries themselves (LDAP, mDNS) it cannot ask.
fn static_binary(out: &Path, is_guided: bool) -> Result<PathBuf, Failure> {
    let built = release::build(Release { is_guided, is_static: true })?;
    put(&built, &out.join("static/muster"), 0o755)?;
    Ok(out.join("static/muster"))
}

// ------------------------------------------------------------------------------------------------
// Packages
// ------------------------------------------------------------------------------------------------

fn muster(out: &Path, binary: &Path) -> Result<PathBuf, Failure> {
    let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
    let tree = out.join("muster");
    clear(&tree)?;
    let repository = repository::root();
    put(binary, &tree.join("usr/bin/muster"), 0o755)?;
    said(Command::new("strip").arg("--strip-unneeded").arg(tree.join("usr/bin/muster")))?;
    let packaging = repository.join("packaging");
    let unit = tree.join("usr/lib/systemd/system/muster.service");
    put(&packaging.join("muster.service"), &unit, 0o644)?;
    put(&packaging.join("muster.hcl"), &tree.join("etc/muster/muster.hcl"), 0o644)?;
    put_pages(&tree, binary)?;
    put_documents(&tree)?;
    for script in ["postinst", "prerm", "postrm"] {
        let own = packaging.join("debian").join(script);
        put(&own, &tree.join("DEBIAN").join(script), 0o755)?;
    }
    write(&tree.join("DEBIAN/conffiles"), "/etc/muster/muster.hcl\n")?;
    let depends = format!("libc6 (>= {}), passwd", libc_needed(binary)?);
    let says = "service registry: services register, are checked and are found\n \
                Speaks to clients of Consul (HTTP and DNS) and of Netflix Eureka.";
    write(&tree.join("DEBIAN/control"), &control("muster", &architecture, &depends, says))?;
    pack(out, &tree, &format!("muster_{VERSION}_{architecture}.deb"))
}

/// The package with nothing in it but Consul's name.
fn link(out: &Path) -> Result<PathBuf, Failure> {
    let tree = out.join("muster-consul");
    clear(&tree)?;
    let folder = tree.join("usr/bin");
    fs::create_dir_all(&folder).map_err(|error| wrong(&folder, &error))?;
    let link = folder.join("consul");
    std::os::unix::fs::symlink("muster", &link).map_err(|error| wrong(&link, &error))?;
    let depends = format!("muster (= {VERSION})");
    let says = "muster under the name of consul\n \
                A link: called so, muster takes Consul's flags and configuration files.";
    let text = control("muster-consul", "all", &depends, says);
    write(&tree.join("DEBIAN/control"), &(text + "Provides: consul\nConflicts: consul\n"))?;
    pack(out, &tree, &format!("muster-consul_{VERSION}_all.deb"))
}

fn control(name: &str, architecture: &str, depends: &str, says: &str) -> String {
    format!(
        "Package: {name}\nVersion: {VERSION}\nArchitecture: {architecture}\nSection: net\n\
         Priority: optional\nMaintainer: {MAINTAINER}\nDepends: {depends}\nDescription: {says}\n"
    )
}

/// Manual pages and completions, as the binary itself writes them.
fn put_pages(tree: &Path, binary: &Path) -> Result<(), Failure> {
    let manual = tree.join("usr/share/man/man1");
    fs::create_dir_all(&manual).map_err(|error| wrong(&manual, &error))?;
    said(Command::new(binary).arg("man").arg("--folder").arg(&manual))?;
    let pages = fs::read_dir(&manual).map_err(|error| wrong(&manual, &error))?;
    for page in pages.flatten() {
        said(Command::new("gzip").args(["-9", "-n"]).arg(page.path()))?;
    }
    let places = [
        ("bash", "usr/share/bash-completion/completions/muster"),
        ("zsh", "usr/share/zsh/vendor-completions/_muster"),
        ("fish", "usr/share/fish/vendor_completions.d/muster.fish"),
    ];
    for (shell, place) in places {
        let script = said(Command::new(binary).args(["completion", shell]))?;
        write(&tree.join(place), &(script + "\n"))?;
    }
    Ok(())
}

/// What a person wants to read where no repository is at hand.
fn put_documents(tree: &Path) -> Result<(), Failure> {
    let (root, folder) = (repository::root(), tree.join("usr/share/doc/muster"));
    let mut documents = vec![root.join("README.md"), root.join("CHANGELOG.md")];
    let docs = root.join("docs");
    let listed = fs::read_dir(&docs).map_err(|error| wrong(&docs, &error))?;
    let is_page = |path: &PathBuf| path.extension().is_some_and(|own| own == "md");
    documents.extend(listed.flatten().map(|entry| entry.path()).filter(is_page));
    for document in &documents {
        let name = document.file_name().expect("a listed file has a name");
        put(document, &folder.join(name), 0o644)?;
    }
    let read = |name: &str| {
        let path = root.join(name);
        fs::read_to_string(&path).map_err(|error| wrong(&path, &error))
    };
    let licenses = format!(
        "muster may be used under either of two licenses.\n\n{}\n----\n\n{}",
        read("LICENSE-MIT")?,
        read("LICENSE-APACHE")?
    );
    write(&folder.join("copyright"), &licenses)
}

/// The newest version of the C library of which the binary names a symbol.
fn libc_needed(binary: &Path) -> Result<String, Failure> {
    let bytes = fs::read(binary).map_err(|error| wrong(binary, &error))?;
    newest_libc(&bytes)
        .map(|(major, minor)| format!("{major}.{minor}"))
        .ok_or_else(|| Failure::NotInOrder("the binary names no C library".to_owned()))
}

fn newest_libc(binary: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let marks = binary.windows(MARK.len()).enumerate().filter(|(_, window)| *window == MARK);
    let versions = marks.filter_map(|(at, _)| {
        let rest = &binary[at + MARK.len()..];
        let end = rest.iter().position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
        let mut numbers = std::str::from_utf8(&rest[..end]).ok()?.split('.');
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    versions.max()
}

fn pack(out: &Path, tree: &Path, name: &str) -> Result<PathBuf, Failure> {
    let package = out.join(name);
    let mut command = Command::new("dpkg-deb");
    command.args(["--build", "--root-owner-group"]).arg(tree).arg(&package);
    said(&mut command)?;
    Ok(package)
}

// ------------------------------------------------------------------------------------------------
// Files and programs
// ------------------------------------------------------------------------------------------------

fn put(from: &Path, to: &Path, mode: u32) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    make_room(to)?;
    fs::copy(from, to).map_err(|error| wrong(from, &error))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).map_err(|error| wrong(to, &error))
}

fn write(to: &Path, text: &str) -> Result<(), Failure> {
    make_room(to)?;
    fs::write(to, text).map_err(|error| wrong(to, &error))
}

fn make_room(file: &Path) -> Result<(), Failure> {
    let folder = file.parent().expect("a file lies in a folder");
    fs::create_dir_all(folder).map_err(|error| wrong(folder, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_c_library_is_found_among_the_symbols() {
        let binary = b"\0GLIBC_2.4\0x\0GLIBC_2.34\0GLIBC_PRIVATE\0GLIBC_2.9\0";
        assert_eq!(newest_libc(binary), Some((2, 34)));
        assert_eq!(newest_libc(b"nothing"), None);
    }
}
