import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Arrays;
import org.apache.kafka.clients.consumer.ConsumerRecord;

/**
 * The tracker's audit lines (src/audit/line.rs), but for their hash, of one listener thread. They are gathered in one
 * buffer and appended to the common file in whole lines. Not for several threads.
 */
public final class AuditLines {
    /** So much is written at a time. */
    private static final int GROUP_BYTES = 1 << 20;

    private static final DateTimeFormatter TIME =
        DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSS'Z'").withZone(ZoneOffset.UTC);
    private static final byte[] HEX = ascii("0123456789abcdef");
    private static final byte[] TOPIC = ascii("\",\"event_type\":\"message.received\",\"kafka_topic\":");
    private static final byte[] PARTITION = ascii(",\"kafka_partition\":");
    private static final byte[] OFFSET = ascii(",\"kafka_offset\":");
    private static final byte[] TIMESTAMP = ascii(",\"kafka_timestamp\":");
    private static final byte[] GROUP = ascii(",\"consumer_group\":");
    private static final byte[] KEY = ascii(",\"kafka_key\":");
    private static final byte[] RAW = ascii(",\"raw_message\":");
    private static final byte[] SIZE = ascii(",\"message_size\":");
    private static final byte[] ORDER = ascii(",\"deserialized\":true,\"order_full\":");
    private static final byte[] END = ascii(",\"outcome\":\"processed\",\"attempts\":1}\n");

    /** What each ASCII character needs: nothing, a backslash, or more. */
    private static final byte[] CLASSES = new byte[128];

    private static final byte PLAIN = 0, QUOTED = 1, CONTROL = 2;

    static {
        Arrays.fill(CLASSES, 0, 0x20, CONTROL);
        CLASSES[0x7f] = CONTROL;
        CLASSES['"'] = QUOTED;
        CLASSES['\\'] = QUOTED;
    }

    private final FileChannel file;
    private final byte[] group;
    private byte[] out = new byte[GROUP_BYTES + (1 << 16)];
    private ByteBuffer direct = ByteBuffer.allocateDirect(out.length);
    private int at;
    private byte[] now;

    public AuditLines(FileChannel file, String group) {
        this.file = file;
        this.group = group.getBytes(StandardCharsets.UTF_8);
    }

    /** The time of the lines that follow. */
    public void begin(Instant now) {
        this.now = ascii("{\"timestamp\":\"" + TIME.format(now));
    }

    /** Adds the line of an order that was processed. */
    public void add(ConsumerRecord<byte[], byte[]> record) throws IOException {
        byte[] payload = record.value();
        byte[] topic = record.topic().getBytes(StandardCharsets.UTF_8);
        int keySize = record.key() == null ? 0 : record.key().length;
        // A byte becomes six at most.
        int most = 512 + 6 * (topic.length + group.length + keySize) + 7 * payload.length;
        if (at + most > out.length) {
            write();
            if (most > out.length) {
                out = new byte[most];
                direct = ByteBuffer.allocateDirect(most);
            }
        }
        put(now);
        put(TOPIC);
        quote(topic);
        put(PARTITION);
        number(record.partition());
        put(OFFSET);
        number(record.offset());
        put(TIMESTAMP);
        number(record.timestamp());
        put(GROUP);
        quote(group);
        put(KEY);
        if (record.key() == null) put(ascii("null"));
        else quote(record.key());
        put(RAW);
        quote(payload);
        put(SIZE);
        number(payload.length);
        put(ORDER);
        int start = at;
        put(payload);
        // As in the tracker, a line break between tokens is left out.
        for (int from = start, end = at; from < end; from++) {
            byte b = out[from];
            if (b == '\n' || b == '\r') {
                withoutBreaks(start);
                break;
            }
        }
        put(END);
        if (at >= GROUP_BYTES) write();
    }

    /** Writes what is gathered and returns when it is on disk. */
    public void sync() throws IOException {
        write();
        file.force(false);
    }

    private void write() throws IOException {
        direct.clear().put(out, 0, at).flip();
        // One append is one call of the system, so that lines of several threads do not mix.
        synchronized (file) {
            while (direct.hasRemaining()) file.write(direct);
        }
        at = 0;
    }

    private void withoutBreaks(int start) {
        int to = start;
        for (int from = start; from < at; from++) {
            if (out[from] != '\n' && out[from] != '\r') out[to++] = out[from];
        }
        at = to;
    }

    private void put(byte[] bytes) {
        System.arraycopy(bytes, 0, out, at, bytes.length);
        at += bytes.length;
    }

    private void number(long value) {
        if (value < 0) {
            put(ascii(Long.toString(value)));
            return;
        }
        int digits = 1;
        for (long rest = value; rest >= 10; rest /= 10) digits++;
        for (int place = at + digits - 1; place >= at; place--) {
            out[place] = (byte) ('0' + value % 10);
            value /= 10;
        }
        at += digits;
    }

    /** A string of JSON, escaped as src/models/json.rs does; refuses what is not UTF-8. */
    private void quote(byte[] text) {
        byte[] out = this.out;
        int at = this.at;
        out[at++] = '"';
        for (int i = 0; i < text.length; i++) {
            byte b = text[i];
            if (b >= 0) {
                byte kind = CLASSES[b];
                if (kind == PLAIN) {
                    out[at++] = b;
                } else if (kind == QUOTED) {
                    out[at++] = '\\';
                    out[at++] = b;
                } else {
                    at = control(out, at, b);
                }
                continue;
            }
            int length = Utf8.length(text, i);
            if (length == 0) throw new IllegalArgumentException("not UTF-8 from byte " + i + " on");
            int code = Utf8.code(text, i, length);
            if (unsafe(code)) {
                at = hex(out, at, code);
            } else {
                for (int k = 0; k < length; k++) out[at++] = text[i + k];
            }
            i += length - 1;
        }
        out[at++] = '"';
        this.at = at;
    }

    private static int control(byte[] out, int at, byte b) {
        int letter = "\b\t\n\f\r".indexOf(b);
        if (letter < 0) return hex(out, at, b);
        out[at] = '\\';
        out[at + 1] = (byte) "btnfr".charAt(letter);
        return at + 2;
    }

    private static int hex(byte[] out, int at, int code) {
        out[at] = '\\';
        out[at + 1] = 'u';
        for (int k = 0; k < 4; k++) out[at + 2 + k] = HEX[code >> (12 - 4 * k) & 0xf];
        return at + 6;
    }

    /** What a terminal would obey, or what turns the reading direction. */
    private static boolean unsafe(int c) {
        return c <= 0x9f
            || c == 0x61c
            || c == 0x200e
            || c == 0x200f
            || c >= 0x2028 && c <= 0x202e
            || c >= 0x2066 && c <= 0x2069
            || c == 0xfeff;
    }

    private static byte[] ascii(String text) {
        return text.getBytes(StandardCharsets.US_ASCII);
    }
}
