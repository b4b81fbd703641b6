//! Confluent's client for Python: another client than ours.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

const CLIENT: &str = "confluent-kafka==2.16.1";

/// A Python that has the client: installed once, kept between runs.
pub fn python() -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(CLIENT.replace("==", "-"));
    let python = home.join("bin/python3");
    let run = |command: &mut Command| match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        Err(error) => Err(error.to_string()),
    };
    let has_client = |python: &Path| run(Command::new(python).args(["-c", "import confluent_kafka"]));
    if has_client(&python).is_err() {
        let why = |error| format!("it needs Python with {CLIENT}: {error}");
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&home)).map_err(why)?;
        let install = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", CLIENT];
        run(Command::new(&python).args(install)).map_err(why)?;
        has_client(&python).map_err(why)?;
    }
    Ok(python)
}

/// Runs one of the scripts beside the flows; its standard output.
pub fn run_script(python: &Path, script: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/flows").join(script);
    let output = Command::new(python).arg(script).args(arguments).output().expect("Python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}
