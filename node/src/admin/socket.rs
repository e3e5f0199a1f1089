//! The Unix socket: mode 0600 from its first moment, and taken over from a node that died.

use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Binds the socket. It is bound under another name, closed to others, and only then put in its place, so that at no
/// time anybody else could open it. A socket that nobody answers at is replaced.
///
/// # Errors
/// One line: what, and why.
pub(super) fn bind(path: &Path) -> Result<UnixListener, String> {
    let shown = path.display();
    if UnixStream::connect(path).is_ok() {
        return Err(format!(
            "another node already answers at the admin socket {shown}; give this one its own in [listen] admin"
        ));
    }
    let wrong = |what: &str, error: std::io::Error| {
        format!("cannot {what} the admin socket {shown}: {error}")
    };
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(|error| wrong("make the folder of", error))?;
    }
    let unfinished = unfinished(path);
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(wrong("prepare", error));
        }
        _ => {}
    }
    let listener = UnixListener::bind(&unfinished).map_err(|error| wrong("bind", error))?;
    std::fs::set_permissions(&unfinished, std::fs::Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|error| wrong("close to others", error))?;
    Ok(listener)
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/admin.sock");
        let first = bind(&path).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(
            bind(&path)
                .unwrap_err()
                .contains("another node already answers")
        );
        drop(first);
        bind(&path).unwrap();
        assert_eq!(
            std::fs::read_dir(path.parent().unwrap()).unwrap().count(),
            1
        );
    }
}
