//! A plan as a file: JSON that people can read and compare, one entry a line, for its owner alone.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::plan::{Offsets, replay_id};
use super::{Plan, PlanEntry, ReplayError};
use crate::models::to_safe_vec;

/// What a plan of this form calls itself.
const FORMAT: &str = "pubsub-kafka-plan-1";

/// Everything but the entries.
#[derive(Serialize)]
struct Head<'a> {
    format: &'static str,
    plan_id: Uuid,
    created: Timestamp,
    by: &'a str,
    dlq_topic: &'a str,
    filters: &'a [String],
    include_superseded: bool,
    counts: std::collections::BTreeMap<&'static str, u64>,
    targets: std::collections::BTreeMap<&'a str, u64>,
    seen: &'a Offsets,
}

/// What is read: counts and targets follow from the entries.
#[derive(Deserialize)]
struct Whole {
    format: String,
    plan_id: Uuid,
    created: Timestamp,
    by: String,
    dlq_topic: String,
    #[serde(default)]
    filters: Vec<String>,
    #[serde(default)]
    include_superseded: bool,
    #[serde(default)]
    seen: Offsets,
    entries: Vec<PlanEntry>,
}

/// Writes a plan, in place of what was there: whole, or not at all.
///
/// # Errors
/// [`ReplayError::File`].
pub fn write_plan(plan: &Plan, path: &Path) -> Result<(), ReplayError> {
    let failed = || ReplayError::file("write the plan", path);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let draft = path.with_file_name(name);
    let write = || {
        let file = File::options().create(true).write(true).truncate(true).mode(0o600).open(&draft)?;
        let mut out = BufWriter::new(file);
        write_to(plan, &mut out)?;
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(|error| {
        drop(fs::remove_file(&draft));
        failed()(error)
    })
}

fn write_to(plan: &Plan, out: &mut impl Write) -> io::Result<()> {
    let head = Head {
        format: FORMAT,
        plan_id: plan.plan_id,
        created: plan.created,
        by: &plan.by,
        dlq_topic: &plan.dlq_topic,
        filters: &plan.filters,
        include_superseded: plan.include_superseded,
        counts: plan.counts(),
        targets: plan.targets(),
        seen: &plan.seen,
    };
    // One field a line, one entry a line.
    let head = serde_json::to_value(&head).map_err(io::Error::other)?;
    writeln!(out, "{{")?;
    for name in [
        "format",
        "plan_id",
        "created",
        "by",
        "dlq_topic",
        "filters",
        "include_superseded",
        "counts",
        "targets",
        "seen",
    ] {
        out.write_all(format!("\"{name}\":").as_bytes())?;
        out.write_all(&to_safe_vec(&head[name]).map_err(io::Error::other)?)?;
        writeln!(out, ",")?;
    }
    write!(out, "\"entries\":[")?;
    for (at, entry) in plan.entries.iter().enumerate() {
        writeln!(out, "{}", if at == 0 { "" } else { "," })?;
        out.write_all(&to_safe_vec(entry).map_err(io::Error::other)?)?;
    }
    writeln!(out, "\n]\n}}")
}

/// Reads a plan. Entries may have been taken out of it, not changed.
///
/// # Errors
/// [`ReplayError::File`], and [`ReplayError::NoPlan`] for what is none.
pub fn read_plan(path: &Path) -> Result<Plan, ReplayError> {
    // From memory it is read several times as fast as from a file.
    let text = fs::read(path).map_err(ReplayError::file("read the plan", path))?;
    let no_plan = |why: String| ReplayError::NoPlan { path: path.to_owned(), why };
    let whole: Whole = serde_json::from_slice(&text).map_err(|e| no_plan(e.to_string()))?;
    drop(text);
    if whole.format != FORMAT {
        return Err(no_plan(format!("its format is not {FORMAT}")));
    }
    let mut ids = std::collections::HashSet::with_capacity(whole.entries.len());
    for (at, entry) in whole.entries.iter().enumerate() {
        if entry.replay_id != replay_id(whole.plan_id, entry.id) {
            return Err(no_plan(format!("the replay_id of entry {} is not that of its id", at + 1)));
        }
        if !ids.insert(entry.id) {
            return Err(no_plan(format!("the dead letter {} stands in it twice", entry.id)));
        }
    }
    Ok(Plan {
        plan_id: whole.plan_id,
        created: whole.created,
        by: whole.by,
        dlq_topic: whole.dlq_topic,
        filters: whole.filters,
        include_superseded: whole.include_superseded,
        seen: whole.seen,
        entries: whole.entries,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::plan::tests::entry;
    use super::*;

    fn plan(entries: Vec<PlanEntry>) -> Plan {
        Plan {
            plan_id: Uuid::NAMESPACE_DNS,
            created: Timestamp::UNIX_EPOCH,
            by: "me@here".to_owned(),
            dlq_topic: "orders-dlq".to_owned(),
            filters: vec!["--reason VALIDATION_ERROR".to_owned()],
            include_superseded: false,
            seen: [("orders".to_owned(), [(0, 7)].into())].into(),
            entries,
        }
    }

    #[test]
    fn a_plan_comes_back_and_is_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.json");
        for entries in [vec![], vec![entry(0, 1, 1)], vec![entry(0, 1, 1), entry(0, 2, 2)]] {
            let plan = plan(entries);
            write_plan(&plan, &path).expect("written");
            assert_eq!(read_plan(&path).expect("a plan"), plan);
            assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
            let text = fs::read_to_string(&path).expect("text");
            let lines = text.lines().filter(|line| line.starts_with("{\"id\"")).count();
            assert_eq!(lines, plan.entries.len(), "{text}");
        }
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
    }

    #[test]
    fn what_is_no_plan_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("plan.json");
        write_plan(&plan(vec![entry(0, 1, 1)]), &path).expect("written");
        let good = fs::read_to_string(&path).expect("text");
        let replay = entry(0, 1, 1).replay_id.to_string();
        let line = good.lines().find(|line| line.starts_with("{\"id\"")).expect("an entry");
        for (bad, told) in [
            ("{}".to_owned(), "missing field"),
            (good.replace(FORMAT, "pubsub-kafka-plan-9"), "its format"),
            (good.replace(&replay, &Uuid::nil().to_string()), "replay_id of entry 1"),
            (good.replace(line, &format!("{line},\n{line}")), "stands in it twice"),
            (good.replace("\"reason\"", "\"raison\""), "unknown field"),
        ] {
            fs::write(&path, bad).expect("written");
            let error = read_plan(&path).expect_err(told).to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
