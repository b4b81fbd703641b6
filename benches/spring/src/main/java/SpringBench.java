import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.listener.BatchAcknowledgingConsumerAwareMessageListener;
import org.springframework.kafka.listener.ConcurrentMessageListenerContainer;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.ContainerProperties.AckMode;
import org.springframework.kafka.support.Acknowledgment;
import org.springframework.kafka.support.TopicPartitionOffset;
import org.springframework.kafka.support.TopicPartitionOffset.SeekPosition;
import tools.jackson.databind.ObjectReader;

/**
 * The work of examples/bench/plain.rs under Spring Kafka: its container with a batch listener and three threads reads a
 * topic to its end; each batch is decoded, validated, written and synced, and only then committed. Prints one line of
 * JSON. Arguments: servers, topic, group, the file to write.
 */
public final class SpringBench {
    private static final int THREADS = 3;
    private static final int PATIENCE_MINUTES = 10;

    private final ObjectReader orders = Reading.orders();
    private final String group;
    private final FileChannel file;
    private final ThreadLocal<AuditLines> lines;
    private final long expected;
    private final AtomicLong committed = new AtomicLong();
    private final AtomicLong begun = new AtomicLong();
    private final CountDownLatch done = new CountDownLatch(1);
    private volatile long half;
    private volatile long ended;

    private SpringBench(String group, FileChannel file, long expected) {
        this.group = group;
        this.file = file;
        this.expected = expected;
        this.lines = ThreadLocal.withInitial(() -> new AuditLines(file, group));
    }

    public static void main(String[] arguments) throws Exception {
        String servers = arguments[0], topic = arguments[1], group = arguments[2];
        var factory = new DefaultKafkaConsumerFactory<byte[], byte[]>(settings(servers));
        Map<TopicPartition, Long> ends = ends(factory, topic);
        long expected = ends.values().stream().mapToLong(Long::longValue).sum();
        try (var file = FileChannel.open(
            Path.of(arguments[3]), StandardOpenOption.CREATE_NEW, StandardOpenOption.APPEND)) {
            new SpringBench(group, file, expected).run(factory, ends);
        }
        System.exit(0);
    }

    /** As the other programs here, and what suits a full rate; {@code -Dbench.NAME=VALUE} changes one for a trial. */
    private static Map<String, Object> settings(String servers) {
        Map<String, Object> settings = new HashMap<>(Map.of(
            "bootstrap.servers", servers,
            "key.deserializer", ByteArrayDeserializer.class,
            "value.deserializer", ByteArrayDeserializer.class,
            "enable.auto.commit", false,
            "isolation.level", "read_committed",
            "max.poll.records", 2000,
            "max.partition.fetch.bytes", 4 << 20,
            "receive.buffer.bytes", 1 << 20));
        System.getProperties().forEach((name, value) -> {
            if (name.toString().startsWith("bench.")) settings.put(name.toString().substring(6), value);
        });
        return settings;
    }

    private static Map<TopicPartition, Long> ends(DefaultKafkaConsumerFactory<byte[], byte[]> factory, String topic) {
        try (Consumer<byte[], byte[]> consumer = factory.createConsumer()) {
            return consumer.endOffsets(consumer.partitionsFor(topic).stream()
                .map(info -> new TopicPartition(topic, info.partition()))
                .toList());
        }
    }

    private void run(DefaultKafkaConsumerFactory<byte[], byte[]> factory, Map<TopicPartition, Long> ends)
        throws InterruptedException {
        // Assigned, as in the plain loop: no time goes into rebalances.
        var properties = new ContainerProperties(ends.keySet().stream()
            .map(partition -> new TopicPartitionOffset(partition.topic(), partition.partition(), SeekPosition.BEGINNING))
            .toArray(TopicPartitionOffset[]::new));
        properties.setGroupId(group);
        // Commits where the listener says so, which makes the last commit's time known. As often as BATCH would.
        properties.setAckMode(AckMode.MANUAL_IMMEDIATE);
        properties.setMessageListener((BatchAcknowledgingConsumerAwareMessageListener<byte[], byte[]>) this::batch);
        var container = new ConcurrentMessageListenerContainer<>(factory, properties);
        container.setConcurrency(THREADS);
        container.start();
        if (!done.await(PATIENCE_MINUTES, TimeUnit.MINUTES)) fail(new IllegalStateException("not all came"));
        container.stop();
        System.out.printf(
            "{\"records\":%d,\"seconds\":%.6f,\"second_half_seconds\":%.6f}%n",
            committed.get(), (ended - begun.get()) / 1e9, (ended - half) / 1e9);
    }

    private void batch(List<ConsumerRecord<byte[], byte[]>> records, Acknowledgment ack, Consumer<?, ?> consumer) {
        begun.compareAndSet(0, System.nanoTime());
        try {
            AuditLines lines = this.lines.get();
            lines.begin(Instant.now());
            for (ConsumerRecord<byte[], byte[]> record : records) {
                Order order = orders.readValue(record.value());
                String broken = order.broken();
                if (broken != null) throw new IllegalArgumentException("the order breaks a rule: " + broken);
                lines.add(record);
            }
            lines.sync();
            ack.acknowledge();
        } catch (Exception error) {
            fail(error);
        }
        count(records.size());
    }

    private void count(int records) {
        long all = committed.addAndGet(records), now = System.nanoTime();
        if (all >= expected / 2 && all - records < expected / 2) half = now;
        if (all == expected) {
            ended = now;
            done.countDown();
        }
    }

    /** A measurement that cannot be made ends here, and says why. */
    private static void fail(Exception error) {
        error.printStackTrace();
        Runtime.getRuntime().halt(1);
    }
}
