//! Which files statements may touch, and which files a location means.
//!
//! ```text
//!   COPY t FROM 'in/*.csv'   ->  where does it lead, links and `..` followed?  ->  inside an allowed folder  -> files
//!                                                                              ->  outside: refused, by name
//! ```
//!
//! The question is asked of every file, not of the pattern: a link in an allowed folder that leads out of it is refused.

use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::error::{QueryError, Result};

/// What statements may do with files of the machine that the engine runs on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FileAccess {
    /// No statement reads or writes a file.
    #[default]
    Nowhere,
    /// Files in these folders and below them.
    Within(Vec<PathBuf>),
    /// Whatever the process itself may touch.
    Everywhere,
}

impl FileAccess {
    /// The files that `location` names: a file, the files of a folder for which `is_source` says yes (its own, not
    /// those of folders in it), or those that a pattern with `*` and `?` fits. In the order of their names.
    ///
    /// # Errors
    /// A file outside the allowed folders, nothing there, or something that is no local path.
    pub(crate) fn sources(&self, location: &str, is_source: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>> {
        self.check_any()?;
        let path = local(location)?;
        let found = if path.exists() {
            let path = self.allowed(&path, location)?;
            if path.is_dir() {
                let mut files: Vec<PathBuf> = entries(&path, location)?
                    .into_iter()
                    .filter(|path| path.is_file() && !is_hidden(path) && is_source(path))
                    .collect();
                files.sort();
                files
            } else {
                vec![path]
            }
        } else if location.contains(['*', '?']) {
            self.matching(&path, location)?
        } else {
            self.allowed(&path, location)?;
            return Err(QueryError::Execution(format!("there is no file '{location}'")));
        };
        if found.is_empty() {
            return Err(QueryError::Execution(format!(
                "'{location}' has no files: allowed are a file, a folder of files, and a pattern with * and ?"
            )));
        }
        found.iter().map(|file| self.allowed(file, location)).collect()
    }

    /// The file that `location` names to be written; its folder must be there.
    ///
    /// # Errors
    /// As [`FileAccess::sources`], and a folder in the place of the file.
    pub(crate) fn target(&self, location: &str) -> Result<PathBuf> {
        self.check_any()?;
        let path = local(location)?;
        let name = match path.file_name() {
            Some(name) if !location.ends_with('/') => name.to_owned(),
            Some(_) | None => {
                return Err(QueryError::Unsupported(format!(
                    "writing to the folder '{location}'; name a file"
                )));
            }
        };
        let folder = path.parent().unwrap_or(Path::new("/"));
        let folder = self.allowed(folder, location)?;
        if !folder.is_dir() {
            return Err(QueryError::Execution(format!(
                "'{location}' is in no folder that exists"
            )));
        }
        let target = folder.join(name);
        if target.exists() {
            let target = self.allowed(&target, location)?;
            if target.is_dir() {
                return Err(QueryError::Unsupported(format!(
                    "writing to the folder '{location}'; name a file"
                )));
            }
            return Ok(target);
        }
        Ok(target)
    }

    /// The bytes of the one file that `location` names, at most `most`.
    ///
    /// # Errors
    /// As [`FileAccess::sources`]; a folder, and a larger file.
    pub(crate) async fn read(&self, location: &str, most: u64) -> Result<Bytes> {
        let files = self.sources(location, |_| true)?;
        let [file] = files.as_slice() else {
            return Err(QueryError::InvalidParameter(format!(
                "'{location}' is a folder or a pattern; name one file"
            )));
        };
        let failed = |error: std::io::Error| unreadable(location, &error);
        let length = tokio::fs::metadata(file).await.map_err(failed)?.len();
        if length > most {
            return Err(QueryError::InvalidParameter(format!(
                "'{location}' has {length} bytes, at most {most} are allowed"
            )));
        }
        tokio::fs::read(file).await.map(Bytes::from).map_err(failed)
    }

    fn check_any(&self) -> Result<()> {
        match self {
            Self::Nowhere => Err(QueryError::InvalidParameter(
                "statements may not read or write files here: the server allows it for the folders given with \
                 --allow-files DIR"
                    .into(),
            )),
            Self::Within(_) | Self::Everywhere => Ok(()),
        }
    }

    /// Where `path` leads, when that is allowed. Of a path that is not there, only the part that is says so.
    fn allowed(&self, path: &Path, location: &str) -> Result<PathBuf> {
        let (real, missing) = follow(path).map_err(|error| unreadable(location, &error))?;
        let inside = |folder: &PathBuf| folder.canonicalize().is_ok_and(|folder| real.starts_with(folder));
        match self {
            Self::Everywhere => {}
            Self::Within(folders) if folders.iter().any(inside) => {}
            Self::Within(folders) => {
                let folders: Vec<_> = folders
                    .iter()
                    .map(|folder| folder.display().to_string())
                    .collect();
                return Err(QueryError::InvalidParameter(format!(
                    "'{location}' is outside the folders that statements may use: allowed with --allow-files are {}",
                    folders.join(", ")
                )));
            }
            Self::Nowhere => return self.check_any().map(|()| real),
        }
        if missing {
            return Err(QueryError::Execution(format!("there is no file '{location}'")));
        }
        Ok(real)
    }

    /// The files that a pattern fits, component by component.
    fn matching(&self, pattern: &Path, location: &str) -> Result<Vec<PathBuf>> {
        let mut found = vec![PathBuf::new()];
        for component in pattern.components() {
            let text = component.as_os_str().to_string_lossy();
            if text == "**" {
                return Err(QueryError::Unsupported(format!(
                    "** in '{location}'; * and ? are, within one name"
                )));
            }
            if !matches!(component, Component::Normal(_)) || !text.contains(['*', '?']) {
                for path in &mut found {
                    path.push(component);
                }
                continue;
            }
            let mut deeper = Vec::new();
            for folder in &found {
                if !folder.is_dir() {
                    continue;
                }
                let folder = self.allowed(folder, location)?;
                deeper.extend(entries(&folder, location)?.into_iter().filter(|path| {
                    let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                    !is_hidden(path) && name.is_some_and(|name| fits(&text, &name))
                }));
            }
            found = deeper;
        }
        found.retain(|path| path.is_file());
        found.sort();
        Ok(found)
    }
}

/// An absolute path of this machine.
fn local(location: &str) -> Result<PathBuf> {
    let path = match location.split_once("://") {
        Some(("file", path)) => path,
        Some((scheme, _)) => {
            return Err(QueryError::Unsupported(format!(
                "{scheme}:// as the place of a file; allowed are paths of the machine that the engine runs on"
            )));
        }
        None => location,
    };
    if path.is_empty() {
        return Err(QueryError::InvalidParameter("the path of a file is empty".into()));
    }
    std::path::absolute(path).map_err(|error| unreadable(location, &error))
}

/// Where a path leads, links and `..` followed as far as there is something; whether an end of it is not there.
fn follow(path: &Path) -> std::io::Result<(PathBuf, bool)> {
    let mut there = path;
    loop {
        match there.canonicalize() {
            Ok(real) => return Ok((real, there != path)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match there.parent() {
                Some(parent) => there = parent,
                None => return Err(error),
            },
            Err(error) => return Err(error),
        }
    }
}

fn entries(folder: &Path, location: &str) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder).map_err(|error| unreadable(location, &error))?;
    entries
        .map(|entry| Ok(entry.map_err(|error| unreadable(location, &error))?.path()))
        .collect()
}

/// Names that writers of folders use for what is no data: `_SUCCESS`, `.part-0.crc`.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with(['.', '_']))
}

/// Whether `*` (any text) and `?` (any one character) make `pattern` fit `name`.
fn fits(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == '?' || Some(c) == name.get(n) => {
                p += 1;
                n += 1;
            }
            Some(_) | None => match star {
                // The last star takes one character more.
                Some((at, taken)) => {
                    p = at + 1;
                    n = taken + 1;
                    star = Some((at, taken + 1));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).unwrap_or_default().iter().all(|c| *c == '*')
}

fn unreadable(location: &str, error: &std::io::Error) -> QueryError {
    QueryError::Execution(format!("'{location}' cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (pattern, name) in [
            ("*.csv", "a.csv"),
            ("a?c*", "abc"),
            ("*", ""),
            ("*a*b", "xaxaxb"),
            ("part-*", "part-"),
        ] {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("*.csv", "a.csvx"), ("?", ""), ("a", "A"), ("*a*b", "xbxa")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn without_folders_every_path_is_refused_before_it_is_looked_at() {
        for access in [
            FileAccess::Nowhere,
            FileAccess::Within(vec!["/nonexistent/folder".into()]),
        ] {
            for path in ["/etc/hostname", "/etc/nothing-of-this-name", "/etc/host*"] {
                let error = access.sources(path, |_| true).unwrap_err().to_string();
                assert!(error.contains("--allow-files"), "{error}");
                assert!(
                    access
                        .target(path)
                        .unwrap_err()
                        .to_string()
                        .contains("--allow-files")
                );
            }
        }
        let error = FileAccess::Everywhere
            .sources("s3://bucket/a.csv", |_| true)
            .unwrap_err();
        assert!(error.to_string().starts_with("not supported: s3://"), "{error}");
    }
}
