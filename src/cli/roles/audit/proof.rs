//! How a proof looks: two tables by partition and a verdict, or one JSON object.

use std::io::{self, Write};

use crate::audit::prove::{Counts, PartitionProof, Proof};
use crate::models::{safe_text, to_safe_vec};

/// A column: its title, and what stands in it.
type Column = (&'static str, fn(&Counts) -> u64);

const RECORDS: [Column; 13] = [
    ("records", |c| c.records),
    ("processed", |c| c.processed),
    ("dead-lettered", |c| c.dead_lettered),
    ("missing", |c| c.missing),
    ("duplicates", |c| c.duplicates),
    ("differing", |c| c.differing),
    ("orphans", |c| c.orphans),
    ("repeats", |c| c.repeats),
    ("pending", |c| c.pending),
    ("gaps", |c| c.gaps),
    ("deleted unread", |c| c.deleted_unread),
    ("expired", |c| c.expired),
    ("compacted", |c| c.compacted),
];

const LETTERS: [Column; 8] = [
    ("dead letters", |c| c.letters),
    ("purged", |c| c.letters_purged),
    ("lost", |c| c.letters_lost),
    ("without a line", |c| c.letters_unlisted),
    ("differing", |c| c.letters_differing),
    ("repeated", |c| c.letters_repeated),
    ("pending", |c| c.letters_pending),
    ("expired", |c| c.letters_expired),
];

/// Writes a proof.
pub(super) fn write(proof: &Proof, json: bool, out: &mut impl Write) -> io::Result<()> {
    if json {
        let mut line = to_safe_vec(proof).map_err(io::Error::other)?;
        line.push(b'\n');
        return out.write_all(&line);
    }
    let files: usize = proof.journals.iter().map(|journal| journal.files.len()).sum();
    writeln!(
        out,
        "topic {}, group {}, dead letters in {}; {} in {}, {} published\n",
        safe_text(&proof.topic),
        safe_text(&proof.group),
        safe_text(&proof.dlq_topic),
        counted(proof.journals.len() as u64, "journal"),
        counted(files as u64, "file"),
        counted(proof.heads, "head"),
    )?;
    let place = |at: &PartitionProof| {
        let committed = at.committed.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
        vec![at.partition.to_string(), at.log_start.to_string(), committed, at.end.to_string()]
    };
    write_table(&["partition", "from", "committed", "end"], place, &RECORDS, proof, out)?;
    writeln!(out)?;
    write_table(&["partition"], |at| vec![at.partition.to_string()], &LETTERS, proof, out)?;
    writeln!(out)?;
    if proof.total.unchecked > 0 {
        writeln!(out, "{} without payload could not be compared", counted(proof.total.unchecked, "line"))?;
    }
    if proof.other_topics > 0 {
        writeln!(out, "{} about other topics left aside", counted(proof.other_topics, "line"))?;
    }
    if proof.total.deleted_unread > 0 {
        writeln!(
            out,
            "{} deleted by retention before the group read them, as the audit log says",
            counted(proof.total.deleted_unread, "offset")
        )?;
    }
    let records = counted(proof.total.records, "committed record");
    if proof.proven {
        return writeln!(out, "proven: {records}, each with its outcome");
    }
    writeln!(out, "NOT proven: {} among {records}", counted(proof.violations.total, "violation"))
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// One row for each partition, and the sums where there are several.
fn write_table(
    titles: &[&str],
    place: impl Fn(&PartitionProof) -> Vec<String>,
    columns: &[Column],
    proof: &Proof,
    out: &mut impl Write,
) -> io::Result<()> {
    let cells =
        |counts: &Counts| columns.iter().map(|(_, count)| count(counts).to_string()).collect::<Vec<_>>();
    let titles = titles.iter().copied().chain(columns.iter().map(|(title, _)| *title));
    let mut rows = vec![titles.map(str::to_owned).collect::<Vec<_>>()];
    for partition in &proof.partitions {
        rows.push([place(partition), cells(&partition.counts)].concat());
    }
    if proof.partitions.len() != 1 {
        let mut sums = vec![String::new(); rows[0].len() - columns.len()];
        sums[0] = "total".to_owned();
        rows.push([sums, cells(&proof.total)].concat());
    }
    let widths: Vec<usize> =
        (0..rows[0].len()).map(|at| rows.iter().map(|row| row[at].len()).max().unwrap_or(0)).collect();
    for row in &rows {
        let padded: Vec<_> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}")).collect();
        writeln!(out, "{}", padded.join("  "))?;
    }
    Ok(())
}
