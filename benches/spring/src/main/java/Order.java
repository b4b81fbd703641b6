import java.util.List;

/**
 * The order as it travels, and its rules: the same as in src/models/order.rs and validation.rs. What is absent keeps its
 * zero value, as there. Fields and not a record: a record's reader takes an absent number for a null.
 */
public final class Order {
    public String orderId = "";
    public long sequence;
    public String status = "";
    public List<Item> items = List.of();
    public double subTotal;
    public double tax;
    public double shippingFee;
    public double total;
    public String currency = "";
    public String paymentMethod = "";
    public String shippingAddress = "";
    public Metadata metadata;
    public CustomerInfo customerInfo;
    public List<InventoryStatus> inventoryStatus = List.of();

    public static final class Item {
        public String itemId = "";
        public String itemName = "";
        public long quantity;
        public double unitPrice;
        public double totalPrice;
    }

    public static final class Metadata {
        public String timestamp = "";
        public String version = "";
        public String eventType = "";
        public String source = "";
        public String correlationId = "";
    }

    public static final class CustomerInfo {
        public String customerId = "";
        public String name = "";
        public String email = "";
        public String phone = "";
        public String address = "";
        public String loyaltyLevel = "";
    }

    public static final class InventoryStatus {
        public String itemId = "";
        public String itemName = "";
        public long availableQty;
        public long reservedQty;
        public double unitPrice;
        public boolean inStock;
        public String warehouse = "";
    }

    /** How far a sum may be off: one cent. */
    private static final double TOLERANCE = 0.01;

    /** The first rule that is broken; null when there is none. */
    public String broken() {
        if (orderId.isBlank()) return "order_id";
        if (sequence <= 0) return "sequence";
        if (status.isBlank()) return "status";
        if (items.isEmpty()) return "items";
        double sum = 0, size = 0;
        for (Item item : items) {
            if (item.itemId.isBlank() || item.itemName.isBlank()) return "item_id, item_name";
            if (item.quantity <= 0) return "quantity";
            if (!(item.unitPrice >= 0 && Double.isFinite(item.unitPrice))) return "unit_price";
            double product = item.quantity * item.unitPrice;
            if (differs(product, Math.abs(product), 1, item.totalPrice)) return "total_price";
            sum += item.totalPrice;
            size += Math.abs(item.totalPrice);
        }
        if (differs(sum, size, items.size(), subTotal)) return "sub_total";
        size = Math.abs(subTotal) + Math.abs(tax) + Math.abs(shippingFee);
        if (differs(subTotal + tax + shippingFee, size, 3, total)) return "total";
        if (customerInfo == null) return "customer_info";
        if (customerInfo.customerId.isBlank() || customerInfo.name.isBlank()) return "customer_id, name";
        if (!customerInfo.email.isEmpty() && !looksLikeEmail(customerInfo.email)) return "email";
        return null;
    }

    /** More than a cent apart, beyond what binary rounding of so many terms of that size can do. */
    private static boolean differs(double sum, double size, int terms, double found) {
        double magnitude = size + Math.abs(found);
        double rounding = Math.ulp(1.0) * magnitude * (terms + 2);
        return !(Double.isFinite(magnitude) && Math.abs(sum - found) <= TOLERANCE + rounding);
    }

    private static boolean looksLikeEmail(String text) {
        int at = text.indexOf('@');
        String domain = text.substring(at + 1);
        return at > 0
            && domain.indexOf('@') < 0
            && domain.indexOf('.') > 0
            && !domain.endsWith(".")
            && text.chars().noneMatch(c -> Character.isWhitespace(c) || Character.isISOControl(c));
    }
}
