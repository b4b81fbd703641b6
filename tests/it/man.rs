//! The manual pages that each program writes: all of them, whole, and without what `groff` has to complain about.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{DISPATCHER, binaries, roles, run};

/// The pages in a folder, in order.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> =
        folder.read_dir().expect("the folder").map(|entry| entry.expect("an entry").path()).collect();
    pages.sort();
    pages
}

/// What the formatter has to complain about; nothing where there is no formatter.
fn complaints(page: &Path) -> String {
    let mut groff = Command::new("groff");
    // Long names in a narrow column are no mistake, so the column is wide.
    groff.args(["-k", "-man", "-ww", "-rLL=160n", "-Tutf8", "-z"]).arg(page);
    match groff.output() {
        Ok(said) => String::from_utf8_lossy(&said.stderr).into_owned(),
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}");
            String::new()
        }
    }
}

fn written(path: &str, arguments: &[&str], folder: &Path) -> Vec<String> {
    let folder_name = folder.to_str().expect("UTF-8");
    let (code, stdout, stderr) = run(path, &[arguments, &[folder_name]].concat());
    assert_eq!((code, stdout.as_str()), (Some(0), ""), "{stderr}");
    let pages = pages(folder);
    assert!(stderr.starts_with(&format!("{} manual pages", pages.len())), "{stderr}");
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("a page");
        assert!(text.contains(".SH EXAMPLES") || path == DISPATCHER, "{}", page.display());
        assert!(text.contains("5\\fR\nKafka is not reachable"), "{}:\n{text}", page.display());
        assert_eq!(complaints(page), "", "{}", page.display());
    }
    let name = |page: &PathBuf| page.file_name().expect("a name").to_str().expect("UTF-8").to_owned();
    pages.iter().map(name).collect()
}

#[test]
fn each_program_writes_a_page_of_itself_and_of_each_action() {
    for (role, path) in binaries() {
        let folder = tempfile::tempdir().expect("a folder");
        let names = written(path, &["--man"], &folder.path().join("made/for/it"));
        assert!(names.contains(&format!("{role}.1")), "{names:?}");
        let expected = match role {
            "dlq" => 14,
            "audit" => 6,
            _ => 1,
        };
        assert_eq!(names.len(), expected, "{names:?}");
    }
}

#[test]
fn the_dispatcher_writes_the_pages_of_all_roles() {
    if roles() == 0 {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let names = written(DISPATCHER, &["man"], folder.path());
    for (role, _) in binaries() {
        assert!(names.contains(&format!("pubsub-kafka-{role}.1")), "{names:?}");
    }
    assert!(names.contains(&"pubsub-kafka.1".to_owned()), "{names:?}");
}
