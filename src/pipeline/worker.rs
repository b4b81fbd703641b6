//! One partition's records in, results out, in the order that the settings ask for. A stop lets what runs finish, ends
//! every wait, and begins no delivery and no other batch: what was not begun has no outcome and is read again by whoever
//! comes next.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;

use super::judge::{Ended, Examined, Judge};
use crate::config::Ordering;
use crate::record::Record;

/// At most so many results are handed on together.
const TOGETHER: usize = 64;

/// Works until the records end or `stop`; what it learns goes into `results`, which closes when it returns.
pub(super) async fn run(
    judge: Arc<Judge>,
    ordering: Ordering,
    records: UnboundedReceiver<Vec<Record>>,
    results: UnboundedSender<Vec<Ended>>,
    stop: CancellationToken,
) {
    match ordering {
        Ordering::Partition => in_partition_order(&judge, records, &results, &stop).await,
        // Where nothing is waited for, the order of the partition costs nothing, and is that of each key.
        Ordering::Key if judge.gate.is_none() => in_partition_order(&judge, records, &results, &stop).await,
        Ordering::Key => in_key_order(&judge, records, &results, &stop).await,
    }
}

async fn next(records: &mut UnboundedReceiver<Vec<Record>>, stop: &CancellationToken) -> Option<Vec<Record>> {
    tokio::select! {
        biased;
        () = stop.cancelled() => None,
        batch = records.recv() => batch,
    }
}

/// Hands results on. The finisher goes away first only when the partition was given up.
fn hand_on(results: &UnboundedSender<Vec<Ended>>, ended: Vec<Ended>) {
    if !ended.is_empty() {
        drop(results.send(ended));
    }
}

/// One record after the other: a record in retry holds back its whole partition, and only that.
async fn in_partition_order(
    judge: &Judge,
    mut records: UnboundedReceiver<Vec<Record>>,
    results: &UnboundedSender<Vec<Ended>>,
    stop: &CancellationToken,
) {
    let lane = judge.lane();
    while let Some(batch) = next(&mut records, stop).await {
        let mut done = Vec::with_capacity(batch.len());
        for record in batch {
            match judge.examine(record) {
                Examined::Ended(ended) => done.push(ended),
                Examined::ToDeliver(record, traced) => {
                    // What is known already does not wait for the target.
                    hand_on(results, std::mem::take(&mut done));
                    match judge.deliver(lane.as_ref(), record, traced, stop).await {
                        Some(ended) => hand_on(results, vec![ended]),
                        None => return,
                    }
                }
            }
        }
        hand_on(results, done);
    }
}

/// Records of different keys at the same time, those of one key one after the other; records without a key are each on
/// their own. How many wait here is bounded by what the intake lets in.
async fn in_key_order(
    judge: &Judge,
    mut records: UnboundedReceiver<Vec<Record>>,
    results: &UnboundedSender<Vec<Ended>>,
    stop: &CancellationToken,
) {
    // A key is in the map while one of its records runs; the queue holds those that wait behind it.
    let mut busy: HashMap<Bytes, VecDeque<Record>> = HashMap::new();
    let lane = judge.lane();
    let mut running = FuturesUnordered::new();
    let start = async |record: Record| {
        let key = record.key.clone();
        let ended: Option<Ended> = match judge.examine(record) {
            Examined::Ended(ended) => Some(ended),
            Examined::ToDeliver(record, traced) => judge.deliver(lane.as_ref(), record, traced, stop).await,
        };
        (key, ended)
    };
    let mut open = true;
    while open || !running.is_empty() {
        tokio::select! {
            biased;
            first = running.next(), if !running.is_empty() => {
                let mut done = Vec::new();
                let mut next: Option<(Option<Bytes>, Option<Ended>)> = first;
                while let Some((key, ended)) = next {
                    let interrupted = ended.is_none();
                    done.extend(ended);
                    if let Some(key) = key {
                        let waiting = busy.get_mut(&key).and_then(VecDeque::pop_front);
                        match waiting {
                            // Nothing of a key may overtake its interrupted record.
                            Some(record) if !interrupted && !stop.is_cancelled() => running.push(start(record)),
                            _ => drop(busy.remove(&key)),
                        }
                    }
                    // What has ended by now goes on together: each hand-over wakes the finisher, and then the writer.
                    let more = done.len() < TOGETHER && !running.is_empty();
                    next = if more { running.next().now_or_never().flatten() } else { None };
                }
                hand_on(results, done);
            }
            batch = next(&mut records, stop), if open => {
                let Some(batch) = batch else {
                    open = false;
                    continue;
                };
                // Each may wait for itself, and those around it in memory do not.
                for record in batch.into_iter().map(Record::apart) {
                    match &record.key {
                        None => running.push(start(record)),
                        Some(key) => match busy.get_mut(key) {
                            Some(waiting) => waiting.push_back(record),
                            None => {
                                busy.insert(key.clone(), VecDeque::new());
                                running.push(start(record));
                            }
                        },
                    }
                }
            }
        }
    }
}
