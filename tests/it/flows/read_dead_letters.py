"""Reads a dead letter topic with Confluent's client and writes what it found as JSON Lines."""

import base64
import json
import struct
import sys

from confluent_kafka import Consumer, KafkaError, TopicPartition

servers, topic, partitions = sys.argv[1], sys.argv[2], int(sys.argv[3])
consumer = Consumer({
    "bootstrap.servers": servers,
    "group.id": "another-client",
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
})
consumer.assign([TopicPartition(topic, number, 0) for number in range(partitions)])
open_partitions = set(range(partitions))

SPRING = {
    "kafka_dlt-original-partition": ">i",
    "kafka_dlt-original-offset": ">q",
    "kafka_dlt-original-timestamp": ">q",
}


def text(value):
    return None if value is None else base64.b64encode(value).decode()


while open_partitions:
    message = consumer.poll(30)
    if message is None:
        sys.exit("no answer for 30 s")
    if message.error():
        if message.error().code() != KafkaError._PARTITION_EOF:
            sys.exit(str(message.error()))
        open_partitions.discard(message.partition())
        continue
    decoded = {}
    for name, value in message.headers():
        if name in SPRING:
            (decoded[name],) = struct.unpack(SPRING[name], value)
        elif name.startswith(("dlq.", "kafka_dlt-")):
            decoded[name] = value.decode("utf-8")
    print(json.dumps({
        "partition": message.partition(),
        "offset": message.offset(),
        "key": text(message.key()),
        "headers": [[name, text(value)] for name, value in message.headers()],
        "decoded": decoded,
        "letter": json.loads(message.value()),
    }))
consumer.close()
