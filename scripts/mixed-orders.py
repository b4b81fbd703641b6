#!/usr/bin/env python3
"""Orders of two sizes as JSON Lines, for `producer --input`: small ones, and a share of large ones (many items).

    scripts/mixed-orders.py --count 500000 --large-share 0.01 > orders.jsonl

Every order is valid, unless --broken: then each one breaks a business rule. The same arguments give the same bytes.
"""

import argparse
import json
import sys


def item(number):
    name = f"Item {number}, believable and long enough"
    return {"item_id": f"item-{number:07}", "item_name": name, "quantity": 2, "unit_price": 3.5, "total_price": 7.0}


def order(number, items, note, broken):
    total = 7.0 * items
    return {
        "order_id": f"o-{number:08}", "sequence": number + 1, "status": "" if broken else "pending",
        "items": [item(n) for n in range(items)],
        "sub_total": total, "tax": 0.2, "shipping_fee": 2.5, "total": round(total + 2.7, 2),
        "currency": "EUR", "payment_method": "credit_card", "shipping_address": "1 rue de la Paix, 75002 Paris",
        "metadata": {"timestamp": "2026-01-02T03:04:05Z", "version": "1.0", "event_type": "order.created",
                     "source": "mixed-orders", "correlation_id": f"c-{number:08}"},
        "customer_info": {"customer_id": f"customer-{number % 9973:05}", "name": "Zoë Müller", "email": "zoe@example.com",
                          "phone": "+33 1 23 45 67 89", "address": "1 rue de la Paix", "loyalty_level": "gold"},
        "inventory_status": [], "note": note,
    }


def encode(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def sized(number, items, size, broken):
    """An order of exactly `size` bytes, if that many items fit."""
    bare = len(encode(order(number, items, "", broken)))
    return encode(order(number, items, "n" * max(0, size - bare), broken))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=1300, help="bytes of a small order")
    parser.add_argument("--large-share", type=float, default=0.01)
    parser.add_argument("--large-size", type=int, default=1 << 20, help="bytes of a large order")
    parser.add_argument("--broken", action="store_true", help="each order breaks a rule")
    given = parser.parse_args()
    each = round(1 / given.large_share) if given.large_share > 0 else 0
    # Two thirds of a large order are items, which cost memory to decode; the rest is one long string.
    large_items = given.large_size * 2 // 3 // (len(encode(item(0))) + 1)
    large = sized(0, large_items, given.large_size, given.broken)
    out = sys.stdout.buffer
    for number in range(given.count):
        if each and number % each == each - 1:
            line = large.replace(b"-00000000", b"-%08d" % number)
        else:
            line = sized(number, 3, given.size, given.broken)
        out.write(line + b"\n")


if __name__ == "__main__":
    main()
