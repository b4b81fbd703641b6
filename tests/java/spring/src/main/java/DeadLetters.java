import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.Consumer;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.SerializationException;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.serialization.Deserializer;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.core.DefaultKafkaProducerFactory;
import org.springframework.kafka.core.KafkaTemplate;
import org.springframework.kafka.listener.ContainerProperties;
import org.springframework.kafka.listener.DeadLetterPublishingRecoverer;
import org.springframework.kafka.listener.DefaultErrorHandler;
import org.springframework.kafka.listener.KafkaMessageListenerContainer;
import org.springframework.kafka.listener.MessageListener;
import org.springframework.kafka.support.serializer.ErrorHandlingDeserializer;
import org.springframework.util.backoff.FixedBackOff;

/**
 * Spring Kafka's own listener container, error handler and recoverer on a topic whose records all fail, each as its
 * payload says. Ends when so many dead letters are acknowledged. Arguments: servers, topic, dead letter topic, count.
 */
public final class DeadLetters {
    public static void main(String[] arguments) throws Exception {
        String servers = arguments[0];
        String topic = arguments[1];
        String deadLetters = arguments[2];
        CountDownLatch left = new CountDownLatch(Integer.parseInt(arguments[3]));

        Map<String, Object> producing = Map.of("bootstrap.servers", servers);
        var template = new KafkaTemplate<>(
            new DefaultKafkaProducerFactory<>(producing, new ByteArraySerializer(), new ByteArraySerializer()));
        var recoverer = new DeadLetterPublishingRecoverer(
                template, (record, exception) -> new TopicPartition(deadLetters, record.partition())) {
            @Override
            public void accept(ConsumerRecord<?, ?> record, Consumer<?, ?> consumer, Exception exception) {
                super.accept(record, consumer, exception);
                left.countDown();
            }
        };
        Map<String, Object> consuming = Map.of("bootstrap.servers", servers, "auto.offset.reset", "earliest");
        var factory = new DefaultKafkaConsumerFactory<>(
            consuming,
            new ErrorHandlingDeserializer<>(new Strict("bad key")),
            new ErrorHandlingDeserializer<>(new Strict("unreadable")));
        var properties = new ContainerProperties(topic);
        properties.setGroupId(topic + "-billing");
        properties.setDeliveryAttemptHeader(true);
        properties.setMessageListener((MessageListener<byte[], byte[]>) DeadLetters::handle);
        var container = new KafkaMessageListenerContainer<>(factory, properties);
        container.setCommonErrorHandler(new DefaultErrorHandler(recoverer, new FixedBackOff(0, 2)));
        container.start();
        boolean done = left.await(60, TimeUnit.SECONDS);
        container.stop();
        template.destroy();
        System.exit(done ? 0 : 1);
    }

    private static void handle(ConsumerRecord<byte[], byte[]> record) {
        String payload = record.value() == null ? "null" : new String(record.value());
        if (payload.startsWith("argument")) {
            throw new IllegalArgumentException("quantity 0 is not allowed");
        }
        throw new IllegalStateException("no stock", new java.io.UncheckedIOException(
            new java.net.SocketTimeoutException("the stock service is late")));
    }

    /** Refuses what begins so. */
    private record Strict(String refused) implements Deserializer<byte[]> {
        @Override
        public byte[] deserialize(String topic, byte[] data) {
            if (data != null && new String(data).startsWith(refused)) {
                throw new SerializationException("cannot read it");
            }
            return data;
        }
    }

    private DeadLetters() {}
}
