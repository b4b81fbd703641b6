//! What the generated orders are made of: a small shop's articles and its customers.

/// An article of the shop.
#[derive(Debug)]
pub(super) struct Product {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// The price of one, in cents.
    pub(super) price: i64,
}

/// Somebody who orders.
#[derive(Debug)]
pub(super) struct Customer {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    pub(super) email: &'static str,
    pub(super) phone: &'static str,
    pub(super) address: &'static str,
    pub(super) loyalty_level: &'static str,
}

const fn product(id: &'static str, name: &'static str, price: i64) -> Product {
    Product { id, name, price }
}

const fn customer(
    id: &'static str,
    name: &'static str,
    email: &'static str,
    phone: &'static str,
    address: &'static str,
    loyalty_level: &'static str,
) -> Customer {
    Customer { id, name, email, phone, address, loyalty_level }
}

pub(super) const PRODUCTS: [Product; 12] = [
    product("item-espresso", "Espresso", 250),
    product("item-cappuccino", "Cappuccino", 380),
    product("item-filter", "Filter coffee, 1 kg", 1890),
    product("item-matcha", "Matcha 抹茶, 100 g", 2405),
    product("item-croissant", "Croissant au beurre", 145),
    product("item-pain", "Pain au chocolat", 170),
    product("item-tarte", "Tarte aux pommes", 2199),
    product("item-honey", "Lavender honey, 500 g", 1150),
    product("item-mug", "Mug \"Bonjour\"", 1299),
    product("item-grinder", "Hand grinder", 8950),
    product("item-kettle", "Gooseneck kettle", 6499),
    product("item-sticker", "Sticker", 5),
];

/// Names in many scripts: whatever handles an order meets all of them. Addresses are of `example` domains only.
pub(super) const CUSTOMERS: [Customer; 10] = [
    customer(
        "cust-001",
        "Zoë Müller",
        "zoe.mueller@example.com",
        "+49 30 5550101",
        "Lindenstraße 7, 10969 Berlin",
        "gold",
    ),
    customer(
        "cust-002",
        "José Álvarez Núñez",
        "jose@example.org",
        "+34 91 555 01 02",
        "Calle de Alcalá 12, 28014 Madrid",
        "silver",
    ),
    customer(
        "cust-003",
        "Анна Иванова",
        "anna.ivanova@example.net",
        "+359 2 555 0103",
        "бул. Витоша 15, 1000 София",
        "bronze",
    ),
    customer(
        "cust-004",
        "王小明",
        "xiaoming.wang@example.com",
        "+886 2 5550 0104",
        "臺北市信義區市府路1號",
        "platinum",
    ),
    customer(
        "cust-005",
        "佐藤 花子",
        "hanako@example.jp.example",
        "+81 3 5550 0105",
        "東京都千代田区丸の内1-1",
        "gold",
    ),
    customer(
        "cust-006",
        "김민준",
        "minjun.kim@example.com",
        "+82 2 555 0106",
        "서울특별시 중구 세종대로 110",
        "",
    ),
    customer(
        "cust-007",
        "ليلى حداد",
        "layla.haddad@example.org",
        "+212 5 5550 0107",
        "شارع محمد الخامس 21، الرباط",
        "silver",
    ),
    customer(
        "cust-008",
        "אורית כהן",
        "orit+orders@example.com",
        "+972 3 555 0108",
        "שדרות רוטשילד 40, תל אביב",
        "bronze",
    ),
    customer(
        "cust-009",
        "प्रिया शर्मा",
        "priya.sharma@example.in.example",
        "+91 11 5550 0109",
        "१२ जनपथ, नई दिल्ली 110001",
        "gold",
    ),
    customer("cust-010", "Σίμος O’Brien-Παππάς 🚲", "", "+30 21 0555 0110", "Πλάκα 3, 10558 Αθήνα", "silver"),
];
