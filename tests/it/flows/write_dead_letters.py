"""Writes dead letters of every dialect into one topic with Confluent's client: as their writers make them, and as nobody
should. Offsets within partition 0 are the order of this list."""

import struct
import sys

from confluent_kafka import Producer

servers, topic = sys.argv[1], sys.argv[2]
OLD = 1_700_000_000_000
ORDER = b'{"order_id":"o-7","sequence":1}'


def spring(origin, partition, offset):
    return [
        ("kafka_dlt-original-topic", origin),
        ("kafka_dlt-original-partition", struct.pack(">i", partition)),
        ("kafka_dlt-original-offset", struct.pack(">q", offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", OLD)),
        ("kafka_dlt-original-timestamp-type", b"CreateTime"),
        ("kafka_dlt-original-consumer-group", b"billing"),
    ]


def failed(fqcn, message):
    return [
        ("kafka_dlt-exception-fqcn", fqcn),
        ("kafka_dlt-exception-message", message),
        ("kafka_dlt-exception-stacktrace", fqcn + b": " + message + b"\n\tat a.B.c(B.java:1)\n"),
    ]


def context(prefix, **fields):
    return [(prefix + name.replace("_", "."), value) for name, value in fields.items()]


LETTERS = [
    # 0: Spring
    (b"k-1", ORDER, [("trace", b"1"), ("trace", None)] + spring(b"orders", 2, 1234)
     + failed(b"java.lang.IllegalArgumentException", b"quantity 0 is not allowed")),
    # 1: Spring, by way of a retry topic: the first origin is the true one, the last error counts
    (b"k-2", ORDER, spring(b"orders", 1, 5) + spring(b"orders-retry-0", 0, 9)
     + failed(b"java.util.concurrent.TimeoutException", b"took 30000 ms")),
    # 2: Connect
    (b"k-3", b"not json", context(
        "__connect.errors.", topic=b"payments", partition=b"0", offset=b"77", connector_name=b"sink", task_id=b"0",
        stage=b"VALUE_CONVERTER", class_name=b"org.apache.kafka.connect.json.JsonConverter",
        exception_class_name=b"org.apache.kafka.connect.errors.DataException", exception_message=b"no JSON at 1:4",
        exception_stacktrace=b"org.apache.kafka.connect.errors.DataException: no JSON at 1:4\n\tat x\n")),
    # 3: Streams
    (b"k-4", b"\xff\x00", context(
        "__streams.errors.", exception=b"java.io.IOException: disk", stacktrace=b"java.io.IOException: disk\n\tat x\n",
        message=b"disk", topic=b"clicks", partition=b"3", offset=b"8")),
    # 4: a share group that copies nothing
    (None, None, context(
        "__dlq.errors.", topic=b"orders", partition=b"0", offset=b"9", group=b"share", delivery_count=b"5",
        message=b"Offset delivery count exceeded the threshold.")),
    # 5: nobody that is known
    (b"k-6", b"plain", [("trace", b"6")]),
    # 6: Spring's numbers in the wrong length, an error that would paint the terminal
    (b"\x1b]0;owned\x07", b"\x1b[31mred", [
        ("kafka_dlt-original-topic", b"ord\x1bers"), ("kafka_dlt-original-partition", b"2"),
        ("kafka_dlt-original-offset", struct.pack(">i", 5)), ("kafka_dlt-exception-message", b"\x1b[31m\xff\xc2\x9bred")]),
    # 7: numbers that are none, and headers without values
    (b"k-8", b"x", [("__connect.errors.topic", None), ("__connect.errors.partition", b"-1"),
                    ("__connect.errors.offset", b"9" * 5000), ("__connect.errors.exception.message", b"e" * 100_000)]),
    # 8: says that it is ours, and is not
    (b"k-9", b"{", [("dlq.id", b"\xff"), ("dlq.reason", b"TIMEOUT_ERROR"), ("dlq.error", b"late")]),
    # 9: the first one once more: its writer crashed before it knew
    (b"k-1", ORDER, [("trace", b"1"), ("trace", None)] + spring(b"orders", 2, 1234)
     + failed(b"java.lang.IllegalArgumentException", b"quantity 0 is not allowed")),
]

producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True})
refused = []
for key, value, headers in LETTERS:
    producer.produce(topic, value, key, partition=0, headers=headers, timestamp=OLD + 1000,
                     on_delivery=lambda error, _: error and refused.append(str(error)))
producer.flush(30)
sys.exit("; ".join(refused) if refused else 0)
