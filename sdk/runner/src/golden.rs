//! Golden files under the host: the same folders that `brooklet_testing::golden` reads.

use std::fs;
use std::path::{Path, PathBuf};

use brooklet_golden::{self as golden, Rec};

use crate::{LimitsSpec, RunError, Runner};

/// Why a folder's golden files were not met.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    /// A file can't be read or written.
    #[error("{}: {error}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A line of the input is no record.
    #[error("{}:{line}: {problem}", path.display())]
    Line {
        /// In which file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// The component gave no answer.
    #[error("{}: {error}", folder.display())]
    Run {
        /// In which folder.
        folder: PathBuf,
        /// Why.
        error: RunError,
    },
    /// Something else came out.
    #[error("{}:{difference}", path.display())]
    Different {
        /// The file with what was expected.
        path: PathBuf,
        /// The line, what was expected, and what came.
        difference: String,
    },
}

/// A folder with `config.json`, `input.jsonl` and `expected.jsonl`.
#[derive(Clone, Debug)]
pub struct Case {
    folder: PathBuf,
    config: String,
    records: Vec<Rec>,
}

impl Case {
    /// Reads what goes in.
    pub fn read(folder: &Path) -> Result<Case, CaseError> {
        let config = read(&folder.join("config.json"))?;
        let path = folder.join("input.jsonl");
        let mut records = Vec::new();
        for (index, line) in read(&path)?.lines().enumerate() {
            let record = golden::parse(line).map_err(|problem| CaseError::Line {
                path: path.clone(),
                line: index + 1,
                problem,
            })?;
            records.push(record);
        }
        Ok(Case { folder: folder.to_owned(), config, records })
    }

    /// The configuration, JSON.
    pub fn config(&self) -> &str {
        &self.config
    }

    /// The records that go in.
    pub fn records(&self) -> &[Rec] {
        &self.records
    }

    /// Runs a component over it, in batches of `batch` records, and compares what comes out with
    /// `expected.jsonl`, or writes that file if `update` says so.
    pub async fn run(
        &self,
        runner: &Runner,
        limits: LimitsSpec,
        batch: usize,
        update: bool,
    ) -> Result<(), CaseError> {
        let failed = |error| CaseError::Run { folder: self.folder.clone(), error };
        let mut view = runner.view(&self.config, limits).await.map_err(failed)?;
        let mut shown = Vec::with_capacity(self.records.len());
        for records in self.records.chunks(batch.max(1)) {
            shown.extend(view.show(records).await.map_err(failed)?);
        }
        let actual = golden::lines(&shown);
        let path = self.folder.join("expected.jsonl");
        if update {
            return fs::write(&path, actual).map_err(|error| CaseError::File { path, error });
        }
        match golden::difference(&read(&path)?, &actual) {
            Some(difference) => Err(CaseError::Different { path, difference }),
            None => Ok(()),
        }
    }
}

fn read(path: &Path) -> Result<String, CaseError> {
    fs::read_to_string(path).map_err(|error| CaseError::File { path: path.to_owned(), error })
}
