//! What is wrong with a configuration, and where: for the person who has to edit the file.

use std::fmt;

/// One complaint about a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file, or what stands for it (`-hcl`, the command line).
    pub source: String,
    /// The line, counted from 1; 0 when the complaint is about no line in particular.
    pub line: u32,
    /// What is wrong and what would be right.
    pub what: String,
}

impl Problem {
    /// A complaint about a line of a source that is named later.
    pub fn at(line: u32, what: impl Into<String>) -> Self {
        Problem { source: String::new(), line, what: what.into() }
    }

    /// A complaint about the whole configuration.
    pub fn general(what: impl Into<String>) -> Self {
        Problem::at(0, what)
    }

    /// The same complaint with its source named.
    pub fn within(mut self, source: &str) -> Self {
        source.clone_into(&mut self.source);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.source.is_empty(), self.line) {
            (true, 0) => write!(f, "{}", self.what),
            (true, line) => write!(f, "line {line}: {}", self.what),
            (false, 0) => write!(f, "{}: {}", self.source, self.what),
            (false, line) => write!(f, "{}:{line}: {}", self.source, self.what),
        }
    }
}

/// Every complaint found in one reading: the person sees them all at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Problems(vec![problem])
    }
}
