//! What `x` writes: the figures as one JSON object, in a file of its own that only its owner may read.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::MonitorError;
use super::figures::Figures;
use super::once::write_json;

/// Writes the figures to a new file in a folder.
pub(super) fn export(figures: &Figures, folder: &Path) -> Result<PathBuf, MonitorError> {
    let stamp = figures.at.strftime("%Y%m%dT%H%M%S%.3fZ").to_string();
    let path = folder.join(format!("monitor-{stamp}.json"));
    let write = |path: &Path| -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        write_json(figures, &mut file)
    };
    match write(&path) {
        Ok(()) => Ok(path),
        Err(source) => Err(MonitorError::Write { path, source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::monitor::samples;

    #[test]
    fn the_figures_are_in_the_file_and_nothing_is_overwritten() {
        let folder = tempfile::tempdir().expect("a folder");
        let figures = samples::figures();
        let path = export(&figures, folder.path()).expect("written");
        assert_eq!(path.file_name().expect("a name"), "monitor-20261121T120000.000Z.json");
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(&path).expect("read")).expect("JSON");
        assert_eq!(json["outcomes"]["total"], figures.outcomes.total);
        assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
        assert!(matches!(export(&figures, folder.path()), Err(MonitorError::Write { .. })));
    }
}
