/** Characters beyond ASCII, byte by byte: java.nio's decoder would make a copy of the whole text. */
final class Utf8 {
    private Utf8() {}

    /** How many bytes the character at {@code i} has; 0 when it is none. The first is not ASCII. */
    static int length(byte[] text, int i) {
        int lead = text[i] & 0xff;
        int length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
        if (length == 0 || i + length > text.length) return 0;
        for (int k = 1; k < length; k++) {
            if ((text[i + k] & 0xc0) != 0x80) return 0;
        }
        int code = code(text, i, length);
        boolean fits = switch (length) {
            case 3 -> code >= 0x800 && (code < 0xd800 || code > 0xdfff);
            case 4 -> code >= 0x10000 && code <= 0x10ffff;
            default -> true;
        };
        return fits ? length : 0;
    }

    /** The character of so many bytes at {@code i}. */
    static int code(byte[] text, int i, int length) {
        int code = text[i] & 0xff >> length + 1;
        for (int k = 1; k < length; k++) code = code << 6 | text[i + k] & 0x3f;
        return code;
    }
}
