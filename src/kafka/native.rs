//! The consumer's event queue, read through rdkafka-sys. The safe wrapper loses the offset of an end-of-partition event
//! and the partition of an error, panics on a header name that is not UTF-8, and forces a rebalance to be settled inside
//! a callback; here each event becomes a plain value instead (`docs/decisions/0002-own-event-poll.md`). Nothing but this
//! file and the embedded broker holds raw pointers of C's.
#![expect(unsafe_code, reason = "librdkafka's event API has no safe wrapper that keeps what we need")]

use std::ffi::{CStr, CString, c_char, c_void};
use std::ptr;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka_sys as sys;

use super::arena::Arena;
use crate::record::{Header, Record, RecordTimestamp, TimestampKind, TopicPartition};

/// One thing that the client had to say.
#[derive(Debug)]
pub(super) enum NativeEvent {
    Record(Record),
    EndOfPartition { partition: TopicPartition, offset: i64 },
    Assign(Vec<TopicPartition>),
    Revoke(Vec<TopicPartition>),
    Commit { error: Option<RDKafkaErrorCode>, offsets: Vec<CommitAnswer> },
    Error { partition: Option<TopicPartition>, code: RDKafkaErrorCode, reason: String, fatal: bool },
    Log { level: i32, facility: String, message: String },
    Other,
}

/// What became of one partition's offset.
#[derive(Debug)]
pub(super) struct CommitAnswer {
    pub(super) partition: TopicPartition,
    pub(super) offset: i64,
    pub(super) error: Option<RDKafkaErrorCode>,
}

/// The queue that all of one consumer's events arrive in.
pub(super) struct EventQueue {
    queue: *mut sys::rd_kafka_queue_t,
    /// The topic of the last record: consecutive records nearly always share it, so its name is allocated once.
    topic: Arc<str>,
    /// Where the bytes of records go.
    arena: Arena,
    /// Whether records come without their headers.
    leaves_headers: bool,
}

// SAFETY: librdkafka's queues may be used from any thread; `&mut self` in `poll` keeps it to one at a time.
unsafe impl Send for EventQueue {}

impl Drop for EventQueue {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a call that gave us our own reference to release.
        unsafe { sys::rd_kafka_queue_destroy(self.queue) }
    }
}

/// An event that is destroyed when it goes out of scope.
struct Event(*mut sys::rd_kafka_event_t);

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the pointer came from rd_kafka_queue_poll, and each event is destroyed exactly once, here.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

impl EventQueue {
    /// The consumer queue of a client; `None` when the client is no group consumer.
    ///
    /// The caller keeps the client alive for as long as the queue lives.
    pub(super) fn of(client: *mut sys::rd_kafka_t) -> Option<Self> {
        // SAFETY: the pointer is a live client's (the caller took it from one that it owns).
        let queue = unsafe { sys::rd_kafka_queue_get_consumer(client) };
        (!queue.is_null()).then(|| Self {
            queue,
            topic: Arc::from(""),
            arena: Arena::default(),
            leaves_headers: false,
        })
    }

    /// Records come without their headers from now on.
    #[cfg(feature = "dlq")]
    pub(super) fn leave_headers(&mut self) {
        self.leaves_headers = true;
    }

    /// Asks for a commit whose answer arrives in this queue. (Where it is asked for otherwise, the answer goes to a
    /// callback that the event API never calls, and a failed commit stays unnoticed.)
    pub(super) fn commit(
        &self,
        client: *mut sys::rd_kafka_t,
        offsets: &TopicPartitionList,
    ) -> RDKafkaErrorCode {
        // SAFETY: client, list and queue are live; the call copies the list and keeps no pointer to it.
        unsafe { sys::rd_kafka_commit_queue(client, offsets.ptr(), self.queue, None, ptr::null_mut()) }.into()
    }

    /// Asks for a commit and waits for its answer, at most so long; `None` when there was none. (The client's own waiting
    /// commit has no limit, and says nothing of single partitions.)
    pub(super) fn commit_and_wait(
        client: *mut sys::rd_kafka_t,
        offsets: &TopicPartitionList,
        timeout: Duration,
    ) -> Option<NativeEvent> {
        // SAFETY: the client is live; the queue is ours, and destroyed with `answers`.
        let queue = unsafe { sys::rd_kafka_queue_new(client) };
        let mut answers =
            Self { queue, topic: Arc::from(""), arena: Arena::default(), leaves_headers: false };
        match answers.commit(client, offsets) {
            RDKafkaErrorCode::NoError => answers.poll(timeout),
            code => Some(NativeEvent::Commit { error: Some(code), offsets: Vec::new() }),
        }
    }

    /// Waits for the next event, `None` when there was none in time.
    pub(super) fn poll(&mut self, timeout: Duration) -> Option<NativeEvent> {
        let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: the queue is live; a null event is checked before use.
        let event = unsafe { sys::rd_kafka_queue_poll(self.queue, timeout_ms) };
        if event.is_null() {
            return None;
        }
        let event = Event(event);
        // SAFETY: the event is live until `event` is dropped at the end of this function, and everything that is read
        // from it is copied out before.
        Some(unsafe {
            match sys::rd_kafka_event_type(event.0) {
                sys::RD_KAFKA_EVENT_FETCH => self.fetch(&event),
                sys::RD_KAFKA_EVENT_REBALANCE => rebalance(&event),
                sys::RD_KAFKA_EVENT_OFFSET_COMMIT => commit(&event),
                sys::RD_KAFKA_EVENT_ERROR => error(&event),
                sys::RD_KAFKA_EVENT_LOG => log(&event),
                _ => NativeEvent::Other,
            }
        })
    }

    /// # Safety
    /// `event` is a live fetch event.
    unsafe fn fetch(&mut self, event: &Event) -> NativeEvent {
        // SAFETY: live event; the message belongs to it and is only read while it lives.
        unsafe {
            let message = sys::rd_kafka_event_message_next(event.0);
            let Some(message) = message.as_ref() else { return NativeEvent::Other };
            let partition = message.partition;
            let name = text(sys::rd_kafka_topic_name(message.rkt));
            if *self.topic != *name {
                self.topic = Arc::from(&*name);
            }
            if message.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                let partition = TopicPartition { topic: Arc::clone(&self.topic), partition };
                let reason = text(sys::rd_kafka_message_errstr(message)).into_owned();
                return failed(Some(partition), message.offset, message.err, reason, false);
            }
            self.arena.begin(partition);
            NativeEvent::Record(Record {
                topic: Arc::clone(&self.topic),
                partition,
                offset: message.offset,
                timestamp: timestamp(message),
                key: bytes(message.key, message.key_len).map(|key| self.arena.copy(key)),
                value: bytes(message.payload, message.len).map(|value| self.arena.copy(value)),
                headers: if self.leaves_headers { Vec::new() } else { headers(message, &mut self.arena) },
            })
        }
    }
}

/// The end of a partition is reported as an error; everything else is one.
fn failed(
    partition: Option<TopicPartition>,
    offset: i64,
    code: sys::rd_kafka_resp_err_t,
    reason: String,
    fatal: bool,
) -> NativeEvent {
    match (partition, code) {
        (Some(partition), sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF) => {
            NativeEvent::EndOfPartition { partition, offset }
        }
        (partition, code) => NativeEvent::Error { partition, code: code.into(), reason, fatal },
    }
}

/// # Safety
/// `event` is a live error event.
unsafe fn error(event: &Event) -> NativeEvent {
    // SAFETY: live event; the partition is a copy that we destroy.
    unsafe {
        let code = sys::rd_kafka_event_error(event.0);
        let reason = text(sys::rd_kafka_event_error_string(event.0)).into_owned();
        let fatal = sys::rd_kafka_event_error_is_fatal(event.0) != 0;
        let found = sys::rd_kafka_event_topic_partition(event.0);
        let Some(at) = found.as_ref() else { return failed(None, -1, code, reason, fatal) };
        let partition = TopicPartition::new(&*text(at.topic), at.partition);
        let offset = at.offset;
        sys::rd_kafka_topic_partition_destroy(found);
        failed(Some(partition), offset, code, reason, fatal)
    }
}

/// # Safety
/// `event` is a live rebalance event.
unsafe fn rebalance(event: &Event) -> NativeEvent {
    // SAFETY: live event; the list belongs to it and is copied.
    unsafe {
        let list = partitions(sys::rd_kafka_event_topic_partition_list(event.0));
        let partitions = list.into_iter().map(|answer| answer.partition).collect();
        match sys::rd_kafka_event_error(event.0) {
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => NativeEvent::Assign(partitions),
            sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS => NativeEvent::Revoke(partitions),
            code => failed(None, -1, code, "rebalance".to_owned(), false),
        }
    }
}

/// # Safety
/// `event` is a live offset commit event.
unsafe fn commit(event: &Event) -> NativeEvent {
    // SAFETY: live event; the list belongs to it and is copied.
    unsafe {
        let code = sys::rd_kafka_event_error(event.0);
        let error = (code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then(|| code.into());
        NativeEvent::Commit { error, offsets: partitions(sys::rd_kafka_event_topic_partition_list(event.0)) }
    }
}

/// # Safety
/// `event` is a live log event.
unsafe fn log(event: &Event) -> NativeEvent {
    let (mut facility, mut message, mut level) = (ptr::null(), ptr::null(), 0);
    // SAFETY: live event; the strings belong to it and are copied.
    unsafe {
        if sys::rd_kafka_event_log(event.0, &raw mut facility, &raw mut message, &raw mut level) != 0 {
            return NativeEvent::Other;
        }
        NativeEvent::Log {
            level,
            facility: text(facility).trim().to_owned(),
            message: text(message).trim().to_owned(),
        }
    }
}

/// # Safety
/// `list` is null or a live list.
unsafe fn partitions(list: *const sys::rd_kafka_topic_partition_list_t) -> Vec<CommitAnswer> {
    // SAFETY: the list has `cnt` elements, each with a topic name.
    unsafe {
        let Some(list) = list.as_ref() else { return Vec::new() };
        let count = usize::try_from(list.cnt).unwrap_or(0);
        let mut found = Vec::with_capacity(count);
        for at in 0..count {
            let element = &*list.elems.add(at);
            let failed = element.err != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR;
            found.push(CommitAnswer {
                partition: TopicPartition::new(&*text(element.topic), element.partition),
                offset: element.offset,
                error: failed.then(|| element.err.into()),
            });
        }
        found
    }
}

/// # Safety
/// `message` is a live message of a consumer.
unsafe fn timestamp(message: &sys::rd_kafka_message_t) -> Option<RecordTimestamp> {
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: the message is live and `kind` outlives the call.
    let millis = unsafe { sys::rd_kafka_message_timestamp(message, &raw mut kind) };
    let kind = match kind {
        sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_CREATE_TIME => TimestampKind::CreateTime,
        sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => TimestampKind::LogAppendTime,
        sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => return None,
    };
    (millis >= 0).then_some(RecordTimestamp { millis, kind })
}

/// # Safety
/// `message` is a live message of a consumer.
unsafe fn headers(message: &sys::rd_kafka_message_t, arena: &mut Arena) -> Vec<Header> {
    let mut list = ptr::null_mut();
    // SAFETY: the message is live; the headers belong to it and every one is copied.
    unsafe {
        if sys::rd_kafka_message_headers(message, &raw mut list)
            != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
        {
            return Vec::new();
        }
        let count = sys::rd_kafka_header_cnt(list);
        let mut found = Vec::with_capacity(count);
        for at in 0..count {
            let (mut name, mut value, mut size): (*const c_char, *const c_void, usize) =
                (ptr::null(), ptr::null(), 0);
            let code = sys::rd_kafka_header_get_all(list, at, &raw mut name, &raw mut value, &raw mut size);
            if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                let value = bytes(value, size).map(|value| arena.copy(value));
                found.push(Header { name: text(name).into_owned().into(), value });
            }
        }
        found
    }
}

/// # Safety
/// `data` is null or points at `size` bytes that can be read while the result is used.
unsafe fn bytes<'a>(data: *const c_void, size: usize) -> Option<&'a [u8]> {
    // SAFETY: as promised by the caller.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast(), size) })
}

/// # Safety
/// `data` is null or a C string that lives while the result is used.
unsafe fn text<'a>(data: *const c_char) -> std::borrow::Cow<'a, str> {
    if data.is_null() {
        return "".into();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(data) }.to_string_lossy()
}

/// The metadata of each element of a list, in its order: whatever a member of the group has written there.
pub(super) fn metadata_of(list: &TopicPartitionList) -> Vec<String> {
    // SAFETY: the list is live and has `cnt` elements, each with `metadata_size` readable bytes, or none.
    unsafe {
        let Some(list) = list.ptr().as_ref() else { return Vec::new() };
        let count = usize::try_from(list.cnt).unwrap_or(0);
        let metadata = |element: &sys::rd_kafka_topic_partition_t| {
            let found = bytes(element.metadata, element.metadata_size).unwrap_or_default();
            String::from_utf8_lossy(found).into_owned()
        };
        (0..count).map(|at| metadata(&*list.elems.add(at))).collect()
    }
}

/// What a broker says of a topic.
pub(super) enum Described<T> {
    Told(T),
    /// It cannot tell.
    Untold,
    /// It has not heard of the topic yet, or does not answer.
    NotYet,
}

/// The id that a topic got when it was created: another topic of the same name has another one.
pub(super) fn topic_id(
    client: *mut sys::rd_kafka_t,
    broker: i32,
    topic: &str,
    timeout: Duration,
) -> Described<String> {
    // SAFETY: the description that is read is live.
    describe(client, broker, topic, timeout, false, |topic| unsafe {
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        if id.is_null() {
            return None;
        }
        // All zeros, in base64: the broker is older than topic ids.
        Some(text(sys::rd_kafka_Uuid_base64str(id)).into_owned()).filter(|id| id.chars().any(|c| c != 'A'))
    })
}

/// Whether this client may write to a topic; `None` where the broker does not tell.
#[cfg(feature = "dlq")]
pub(super) fn may_write(
    client: *mut sys::rd_kafka_t,
    broker: i32,
    topic: &str,
    timeout: Duration,
) -> Option<bool> {
    use sys::rd_kafka_AclOperation_t::RD_KAFKA_ACL_OPERATION_WRITE;
    // SAFETY: the description that is read is live, and the list belongs to it and has `count` elements.
    let told = describe(client, broker, topic, timeout, true, |topic| unsafe {
        let mut count = 0;
        let operations = sys::rd_kafka_TopicDescription_authorized_operations(topic, &raw mut count);
        if operations.is_null() {
            return None;
        }
        Some((0..count).any(|at| *operations.add(at) == RD_KAFKA_ACL_OPERATION_WRITE))
    });
    match told {
        Described::Told(may) => Some(may),
        Described::Untold | Described::NotYet => None,
    }
}

/// Asks a broker for a topic's description, with our rights where they are wanted, and reads something from it.
fn describe<T>(
    client: *mut sys::rd_kafka_t,
    broker: i32,
    topic: &str,
    timeout: Duration,
    with_rights: bool,
    read: impl Fn(*const sys::rd_kafka_TopicDescription_t) -> Option<T>,
) -> Described<T> {
    let Ok(name) = CString::new(topic) else { return Described::Untold };
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: the client is live; the queue, the options and the collection are ours and destroyed below, after the
    // last use of what came from them; what is read is copied out of the event before it is destroyed.
    unsafe {
        let queue = sys::rd_kafka_queue_new(client);
        let options = sys::rd_kafka_AdminOptions_new(
            client,
            sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS,
        );
        // A timeout that is refused leaves the default of a minute; the poll below has its own limit.
        sys::rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, ptr::null_mut(), 0);
        // An id that is refused leaves the choice to the client, which is the controller.
        sys::rd_kafka_AdminOptions_set_broker(options, broker, ptr::null_mut(), 0);
        if with_rights {
            let refused = sys::rd_kafka_AdminOptions_set_include_authorized_operations(options, 1);
            if !refused.is_null() {
                sys::rd_kafka_error_destroy(refused);
            }
        }
        let mut names = [name.as_ptr()];
        let topics = sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), names.len());
        sys::rd_kafka_DescribeTopics(client, topics, options, queue);
        let event = sys::rd_kafka_queue_poll(queue, timeout_ms);
        let found = if event.is_null() {
            Described::NotYet
        } else {
            // Bound to a name: what is described lives as long as its event.
            let event = Event(event);
            match described(&event) {
                Described::Told(topic) => read(topic).map_or(Described::Untold, Described::Told),
                Described::Untold => Described::Untold,
                Described::NotYet => Described::NotYet,
            }
        };
        sys::rd_kafka_TopicCollection_destroy(topics);
        sys::rd_kafka_AdminOptions_destroy(options);
        sys::rd_kafka_queue_destroy(queue);
        found
    }
}

/// The description of the topic, which lives as long as the event.
///
/// # Safety
/// `event` is live.
unsafe fn described(event: &Event) -> Described<*const sys::rd_kafka_TopicDescription_t> {
    // SAFETY: live event; the descriptions belong to it, and an event of another type gives a null result.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Described::Untold;
        }
        let mut code = sys::rd_kafka_event_error(event.0).into();
        let mut count = 0;
        let topics = sys::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let told = count > 0 && !topics.is_null();
        if told && code == RDKafkaErrorCode::NoError {
            let error = sys::rd_kafka_TopicDescription_error(*topics);
            if !error.is_null() {
                code = sys::rd_kafka_error_code(error).into();
            }
        }
        match code {
            RDKafkaErrorCode::NoError if told => {}
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::OperationTimedOut
            | RDKafkaErrorCode::RequestTimedOut
            | RDKafkaErrorCode::BrokerTransportFailure => return Described::NotYet,
            _ => return Described::Untold,
        }
        Described::Told(*topics)
    }
}
