//! The files of the project: what git tracks or would track; without git, every file outside build folders.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Larger files are data, not text that a rule reads.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// One text file.
#[derive(Clone, Debug)]
pub(crate) struct File {
    /// From the top of the project, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// All of them, in the order of their paths.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    files: Vec<File>,
    /// Paths of everything, also of what is not text.
    paths: Vec<String>,
}

impl Tree {
    /// The project this test was built from.
    pub(crate) fn of_project() -> Self {
        let root = root();
        let mut paths = tracked(&root).unwrap_or_else(|| walk(&root));
        paths.sort();
        let files = paths
            .iter()
            .filter(|path| {
                root.join(path)
                    .metadata()
                    .is_ok_and(|meta| meta.is_file() && meta.len() <= FILE_BYTES_MAX)
            })
            .filter_map(|path| {
                let text = std::fs::read_to_string(root.join(path)).ok()?;
                Some(File {
                    path: path.clone(),
                    text,
                })
            })
            .collect();
        Self { files, paths }
    }

    /// A made-up tree for the rules' own tests.
    pub(crate) fn sample(files: &[(&str, &str)]) -> Self {
        Self {
            files: files
                .iter()
                .map(|(path, text)| File {
                    path: (*path).to_owned(),
                    text: (*text).to_owned(),
                })
                .collect(),
            paths: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
        }
    }

    /// Every text file.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// Rust sources under a folder (`""`: all).
    pub(crate) fn rust<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a File> {
        self.files
            .iter()
            .filter(move |file| file.path.starts_with(folder) && file.path.ends_with(".rs"))
    }

    /// One file by its path.
    pub(crate) fn get(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Is there a file or a folder of this name?
    pub(crate) fn holds(&self, path: &str) -> bool {
        let folder = format!("{}/", path.trim_end_matches('/'));
        path.is_empty()
            || self
                .paths
                .iter()
                .any(|known| known == path || known.starts_with(&folder))
    }
}

/// The top of the project.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

fn tracked(root: &Path) -> Option<Vec<String>> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output()
        .ok()?;
    let listing = String::from_utf8(output.stdout).ok()?;
    let paths: Vec<String> = listing
        .split('\0')
        .filter(|path| !path.is_empty() && root.join(path).exists())
        .map(str::to_owned)
        .collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

fn walk(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if matches!(name.to_str(), None | Some("target" | ".git")) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(inside) = path.strip_prefix(root) {
                found.push(inside.to_string_lossy().replace('\\', "/"));
            }
        }
    }
    found
}
