//! `dlq export` and `dlq import`.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::{Context, Filters, summary};
use crate::cli::progress::{Counting, byte_bar};
use crate::cli::roles::until_stopped;
use crate::cli::{Exit, RunError, confirm, output};
use crate::dlq::{self, ImportError, Reading, Survey};

/// Write dead letters to a file.
#[derive(Args)]
pub struct Export {
    /// The file, which must not exist yet; "-" is the standard output
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    filters: Filters,
}

impl Export {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        context.reach(&|| false)?;
        let filter = self.filters.check();
        let mut bar = Counting::new("dead letters");
        let progress = |at: Reading| {
            context.note(at);
            bar.at(at.offsets, at.read);
        };
        let export =
            |out: &mut dyn io::Write| dlq::export(&context.kafka, &context.topic, &filter, out, progress);
        let written = if self.output == Path::new("-") {
            export(&mut BufWriter::new(io::stdout().lock()))?
        } else {
            let file = NewFile::create(&self.output).map_err(RunError::io("create the file"))?;
            let mut out = BufWriter::new(&file.file);
            let written = export(&mut out)?;
            drop(out);
            file.keep().map_err(RunError::io("write the file"))?;
            written
        };
        drop(bar);
        output::complain(&format!("exported {written} records"));
        if context.json && self.output != Path::new("-") {
            let told = Exported { file: self.output.display().to_string(), records: written };
            summary::write_json(&told, &mut io::stdout().lock()).map_err(RunError::io("write the result"))?;
        }
        Ok(Exit::Done)
    }
}

#[derive(Serialize)]
struct Exported {
    file: String,
    records: u64,
}

#[derive(Serialize)]
struct Imported<'a> {
    topic: &'a str,
    records: u64,
    imported: u64,
}

/// A file that appears under its name when it is whole. Orders are in it: nobody else may read it.
struct NewFile {
    file: File,
    part: PathBuf,
    name: PathBuf,
}

impl NewFile {
    fn create(name: &Path) -> io::Result<Self> {
        if name.symlink_metadata().is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut part = name.as_os_str().to_owned();
        part.push(format!(".{}.part", std::process::id()));
        let part = PathBuf::from(part);
        let file = File::options().write(true).create_new(true).mode(0o600).open(&part)?;
        Ok(Self { file, part, name: name.to_owned() })
    }

    fn keep(self) -> io::Result<()> {
        self.file.sync_all()?;
        // Unlike a rename it never takes the place of a file that came meanwhile.
        fs::hard_link(&self.part, &self.name)
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // Whatever is left of it is of no use.
        drop(fs::remove_file(&self.part));
    }
}

/// Put exported dead letters into a dead letter topic.
#[derive(Args)]
pub struct Import {
    /// The exported file
    file: PathBuf,
    /// Give the records the time of now; their own may be past the topic's retention
    #[arg(long)]
    new_timestamps: bool,
    /// Do not ask for confirmation
    #[arg(long)]
    yes: bool,
}

impl Import {
    pub(super) fn run(self, context: &Context) -> Result<Exit, RunError> {
        let open = || File::open(&self.file).map_err(RunError::io("open the file"));
        let file = open()?;
        let bytes = file.metadata().map_err(RunError::io("open the file"))?.len();
        let bar = byte_bar(bytes).with_message("check");
        let survey = dlq::survey(BufReader::new(file), |bytes| bar.set_position(bytes));
        bar.finish_and_clear();
        let survey = survey.map_err(ImportError::from)?;
        let Context { kafka, topic, .. } = context;
        confirm(&format!("Import {} records into the topic {topic}?", survey.records), self.yes)?;
        let input = BufReader::new(open()?);
        let imported = until_stopped(|stop| {
            if !context.reach(stop)? {
                return Ok::<u64, RunError>(0);
            }
            let mut bar = Counting::new("records");
            let import = dlq::Import { settings: kafka, topic, new_timestamps: self.new_timestamps };
            let progress = |total, done| {
                context.figures.written(done);
                bar.at(total, done);
            };
            Ok(import.run(input, survey, stop, progress)?)
        })??;
        let Survey { records, .. } = survey;
        output::complain(&format!("imported {imported} of {records} records"));
        if context.json {
            let told = Imported { topic, records, imported };
            summary::write_json(&told, &mut io::stdout().lock()).map_err(RunError::io("write the result"))?;
        }
        Ok(if imported == records { Exit::Done } else { Exit::Partial })
    }
}
