//! `dlq edit`: the payload in an editor, looked at by the validator when it is saved, then replayed.

use std::fs::{self, File};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Args;
use uuid::Uuid;

use super::Context;
use super::send::{AuditFiles, Sending, replay};
use crate::cli::{Exit, RunError, output};
use crate::dlq::replay::{AuditLines, Edits, Prediction, original, predict};
use crate::dlq::{Filter, Letter, Wanted};

/// Edit one dead letter's payload and replay it.
#[derive(Args)]
pub struct Edit {
    /// Its id, or the beginning of it, or PARTITION:OFFSET in the dead letter topic
    id: Wanted,
    /// Where to keep the plan [default: replay-ID.plan.json in the current folder]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    sending: Sending,
}

/// What to do about a payload that would fail again.
enum Answer {
    EditAgain,
    SendAnyway,
    GiveUp,
}

impl Edit {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        context.reach(&|| false)?;
        let id = context.id_of(&self.id)?;
        let audit = AuditFiles::of(self.sending.events_file())?;
        let audit = audit.as_ref().map(|audit| audit as &dyn AuditLines);
        let (letter, payload) = original(&context.kafka, &context.topic, id, audit)?;
        let before = payload.as_deref().unwrap_or_default();
        let Some(edited) = edit(context, &letter, before)? else {
            return Err(RunError::Unconfirmed { what: "nothing was changed".to_owned() });
        };
        if edited == before {
            output::complain("the payload is as it was: nothing to replay");
            return Ok(Exit::Done);
        }
        let edits = Edits { replacement: Some(edited), ..Edits::default() };
        replay(context, Some(id), &Filter::default(), &edits, self.output, &self.sending)
    }
}

/// The payload as it was saved; `None` when it was given up.
fn edit(context: &Context, letter: &Letter, before: &[u8]) -> Result<Option<Vec<u8>>, RunError> {
    let draft = Draft::new(letter.id, before)?;
    loop {
        run_editor(&draft.0)?;
        let mut edited = fs::read(&draft.0).map_err(RunError::io("read the edited payload"))?;
        // Editors end the last line, where the payload may have no line break.
        if edited.ends_with(b"\n") && !before.ends_with(b"\n") {
            edited.pop();
        }
        let verdict = predict(Some(&edited), letter.dialect, letter.reason, &context.limits);
        if edited == before || verdict.prediction != Prediction::FailsAgain {
            return Ok(Some(edited));
        }
        let why = verdict.why.unwrap_or_default();
        match ask(&why)? {
            Answer::EditAgain => {}
            Answer::SendAnyway => return Ok(Some(edited)),
            Answer::GiveUp => return Ok(None),
        }
    }
}

fn ask(why: &str) -> Result<Answer, RunError> {
    output::complain(&format!("it would fail again: {why}"));
    if !io::stdin().is_terminal() {
        let what =
            "the edited payload is not valid, and there is no terminal to ask on; dlq replay --set sends any";
        return Err(RunError::Unconfirmed { what: what.to_owned() });
    }
    output::complain("[e]dit again, [s]end it all the same, or [q]uit?");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer).map_err(RunError::io("read the answer"))?;
    Ok(match answer.trim().to_ascii_lowercase().as_str() {
        "s" | "send" => Answer::SendAnyway,
        "q" | "quit" => Answer::GiveUp,
        // The terminal is gone.
        _ if read == 0 => Answer::GiveUp,
        _ => Answer::EditAgain,
    })
}

/// The payload in a file of its own, for its owner alone, gone when it is dropped.
struct Draft(PathBuf);

impl Draft {
    fn new(id: Uuid, payload: &[u8]) -> Result<Self, RunError> {
        let path = std::env::temp_dir().join(format!("dlq-{id}-{}.json", Uuid::new_v4()));
        let open = File::options().create_new(true).write(true).mode(0o600).open(&path);
        let draft = Self(path);
        open.and_then(|mut file| file.write_all(payload)).map_err(RunError::io("write the draft"))?;
        Ok(draft)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // A draft that cannot be removed is its owner's alone.
        drop(fs::remove_file(&self.0));
    }
}

/// `VISUAL`, else `EDITOR`, else vi; with its arguments, as shells read them.
fn run_editor(file: &Path) -> Result<(), RunError> {
    let named = |name| std::env::var(name).ok().filter(|editor| !editor.trim().is_empty());
    let editor = ["VISUAL", "EDITOR"].into_iter().find_map(named).unwrap_or_else(|| "vi".to_owned());
    let status = Command::new("sh")
        .args(["-c", &format!("{editor} \"$@\""), "editor"])
        .arg(file)
        .status()
        .map_err(RunError::io("start the editor"))?;
    if status.success() {
        return Ok(());
    }
    Err(RunError::Unconfirmed { what: format!("the editor ended with {status}: nothing was changed") })
}
