//! The files that commands read and write, in one place.
//!
//! A command is a client that ends with its work, so it uses plain blocking files rather than the
//! agent's World. Reads are bounded; what is written gets its name only when it is whole and on disk.

use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use super::Failure;

/// Reads a whole file, refused if it is longer than `bytes_max`.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, Failure> {
    let mut data = Vec::new();
    let read = open(path)?.take(bytes_max + 1).read_to_end(&mut data);
    read.map_err(|error| failure(path, &error))?;
    if data.len() as u64 > bytes_max {
        return Err(Failure::new(format!("{}: longer than {bytes_max} bytes", path.display())));
    }
    Ok(data)
}

/// Writes a file, whole and durable or not at all.
pub fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let mut aside = Aside::create(path)?;
    aside.write_all(content).map_err(|error| failure(path, &error))?;
    aside.finish()
}

/// Makes a folder, with those above it. One that is there must be empty.
pub fn make_empty_folder(path: &Path) -> Result<(), Failure> {
    fs::create_dir_all(path).map_err(|error| failure(path, &error))?;
    let mut entries = fs::read_dir(path).map_err(|error| failure(path, &error))?;
    match entries.next() {
        None => Ok(()),
        Some(_) => {
            let text = format!("{} is not empty: name a new or an empty folder", path.display());
            Err(Failure::new(text))
        }
    }
}

/// Removes a folder with everything in it, as far as that goes: nothing depends on it.
pub fn remove_folder(path: &Path) {
    let _ = fs::remove_dir_all(path);
}

/// Opens a file to be read in pieces.
pub fn open(path: &Path) -> Result<impl Read, Failure> {
    File::open(path).map(BufReader::new).map_err(|error| failure(path, &error))
}

/// The files in a folder, by name.
pub fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let wrong = |error: std::io::Error| failure(folder, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(wrong)? {
        let path = entry.map_err(wrong)?.path();
        if path.is_file() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// Bytes of the system's randomness.
pub fn randomness<const N: usize>() -> Result<[u8; N], Failure> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0; N];
    File::open(source)
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| failure(source, &error))?;
    Ok(bytes)
}

/// A file that is being written under another name; dropped unfinished, it is removed.
pub struct Aside {
    file: File,
    aside: PathBuf,
    path: PathBuf,
    is_finished: bool,
}

impl Aside {
    /// Begins to write what shall be called `path`.
    pub fn create(path: &Path) -> Result<Aside, Failure> {
        let mut aside = path.to_owned().into_os_string();
        aside.push(".unfinished");
        let aside = PathBuf::from(aside);
        let file = File::create(&aside).map_err(|error| failure(&aside, &error))?;
        Ok(Aside { file, aside, path: path.to_owned(), is_finished: false })
    }

    /// The name it has until it is finished.
    pub fn unfinished(&self) -> &Path {
        &self.aside
    }

    /// Makes what was written durable.
    pub fn sync(&self) -> Result<(), Failure> {
        self.file.sync_all().map_err(|error| failure(&self.aside, &error))
    }

    /// Gives the file its name.
    pub fn finish(mut self) -> Result<(), Failure> {
        self.sync()?;
        fs::rename(&self.aside, &self.path).map_err(|error| failure(&self.path, &error))?;
        self.is_finished = true;
        Ok(())
    }
}

impl Write for Aside {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.file.write(data)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        if !self.is_finished {
            // Nothing depends on it: an unfinished file is never read.
            let _ = fs::remove_file(&self.aside);
        }
    }
}

/// What went wrong with a file, for the person who named it.
pub fn failure(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("{}: {error}", path.display()))
}
