//! Goes through a dead letter topic with all processors: one thread reads, workers make of each record what the caller
//! wants, and the caller sees the results in the order of the records. Bounded, however long the topic is.

use std::ops::ControlFlow;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use crate::kafka::{KafkaError, Reader};
use crate::record::Record;

/// How much goes from thread to thread at once: records, and about how many bytes.
const BATCH: (usize, usize) = (256, 512 << 10);

/// Reads to the end, or until `each` says stop. `make` runs on several threads.
///
/// # Errors
/// What the reader says.
pub(super) fn scan<T: Send>(
    mut reader: Reader,
    make: impl Fn(Record) -> T + Sync,
    mut each: impl FnMut(T) -> ControlFlow<()>,
) -> Result<(), KafkaError> {
    let workers = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let make = &make;
        let (mut batches, mut results) = (Vec::new(), Vec::new());
        for _ in 0..workers {
            let (to_worker, given) = sync_channel::<Vec<Record>>(1);
            let (made, from_worker) = sync_channel::<Vec<T>>(1);
            batches.push(to_worker);
            results.push(from_worker);
            scope.spawn(move || {
                for batch in given {
                    if made.send(batch.into_iter().map(make).collect()).is_err() {
                        return;
                    }
                }
            });
        }
        let reading = scope.spawn(move || read_into(&mut reader, &batches));
        // Batches go to the workers in turn, so their results come back in turn.
        for from in results.iter().cycle() {
            let Ok(batch) = from.recv() else { break };
            if batch.into_iter().try_for_each(&mut each).is_break() {
                break;
            }
        }
        // Whoever still works finds nobody to give it to, and ends.
        drop(results);
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn read_into(reader: &mut Reader, workers: &[SyncSender<Vec<Record>>]) -> Result<(), KafkaError> {
    let (most, most_bytes) = BATCH;
    let mut in_turn = workers.iter().cycle();
    let (mut batch, mut bytes) = (Vec::with_capacity(most), 0);
    let mut send = |batch: Vec<Record>| in_turn.next().is_some_and(|to| to.send(batch).is_ok());
    while let Some(record) = reader.read()? {
        bytes += record.size_bytes();
        batch.push(record);
        if batch.len() == most || bytes >= most_bytes {
            bytes = 0;
            if !send(std::mem::replace(&mut batch, Vec::with_capacity(most))) {
                return Ok(());
            }
        }
    }
    send(batch);
    Ok(())
}
