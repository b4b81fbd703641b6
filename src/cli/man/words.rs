//! What the flags do not tell of a command: its files, its variables, and examples. By the name that it is called by.

/// What a page says besides the flags.
#[derive(Debug)]
pub(super) struct Words {
    command: &'static str,
    /// Variables that no flag names.
    pub environment: &'static [(&'static str, &'static str)],
    /// Files, and what they are.
    pub files: &'static [(&'static str, &'static str)],
    /// What for, and the command line.
    pub examples: &'static [(&'static str, &'static str)],
}

const NOTHING: Words = Words { command: "", environment: &[], files: &[], examples: &[] };

/// What is known of a command; of one that nobody wrote about, nothing.
pub(super) fn words_of(command: &str) -> &'static Words {
    WORDS.iter().find(|words| words.command == command).unwrap_or(&NOTHING)
}

const JOURNAL: (&str, &str) =
    ("PLAN.journal", "beside the plan: what was sent, so that a run that was killed can be gone on with");
const PLAN: (&str, &str) =
    ("PLAN", "a plan (JSON, mode 0600): the frozen set, what is expected of each, and its targets");
const EVENTS: (&str, &str) =
    ("tracker.events", "the audit log; sealed segments are beside it (.000001, .000002.zst)");

const WORDS: &[Words] = &[
    Words {
        command: "pubsub-kafka",
        examples: &[
            ("All settings with their defaults, as a file:", "pubsub-kafka config"),
            ("Completions for bash:", "pubsub-kafka completions bash"),
            ("These pages:", "pubsub-kafka man /usr/local/share/man/man1"),
        ],
        ..NOTHING
    },
    Words {
        command: "producer",
        examples: &[
            ("An order every two seconds, until it is stopped:", "producer"),
            (
                "A thousand orders as fast as Kafka takes them, some of them bad:",
                "producer --count 1000 --rate max --seed 7 --invalid-ratio 0.2",
            ),
            ("Orders of your own, one JSON object a line:", "producer --input orders.jsonl --rate 500"),
        ],
        ..NOTHING
    },
    Words {
        command: "tracker",
        files: &[
            EVENTS,
            ("tracker.log", "the health log (JSON Lines, mode 0600)"),
            ("tracker.events.torn-*", "a last line that a crash tore"),
            (".tracker.events.lock", "who writes the audit log"),
        ],
        examples: &[
            (
                "Orders to a target, with metrics:",
                "tracker --deliver-to http://localhost:8080/orders --metrics-addr 127.0.0.1:9464",
            ),
            ("Up to the end of the topic as it is now:", "tracker --topic orders --exit-at-end"),
        ],
        ..NOTHING
    },
    Words {
        command: "monitor",
        files: &[EVENTS, ("tracker.log", "the health log")],
        examples: &[
            ("Live, of the files in this folder:", "monitor"),
            ("Once, for a program:", "monitor --once --json"),
        ],
        ..NOTHING
    },
    Words {
        command: "broker",
        examples: &[("Two topics:", "broker --topic orders:3 --topic orders-dlq:3")],
        ..NOTHING
    },
    Words {
        command: "dlq",
        files: &[PLAN, JOURNAL],
        examples: &[
            ("What is it?", "dlq stats"),
            (
                "Freeze a set, look at it, send it slowly, see what became of it:",
                "dlq plan --reason TIMEOUT_ERROR -o plan.json",
            ),
            ("", "dlq apply plan.json --dry-run"),
            ("", "dlq apply plan.json --rate 100 --canary 1,10,100"),
            ("", "dlq status plan.json"),
        ],
        ..NOTHING
    },
    Words {
        command: "dlq list",
        examples: &[
            (
                "What failed in the last two hours with a certain error:",
                "dlq list --since 2h --error 'answered 5..'",
            ),
            ("Those that come, for a program:", "dlq list --follow --json"),
            ("Of another topic, written by Spring Kafka:", "dlq list --topic payments.DLT --status open"),
        ],
        ..NOTHING
    },
    Words {
        command: "dlq show",
        examples: &[
            ("By the beginning of its id:", "dlq show 2d3e68ed"),
            ("By its place, the payload alone:", "dlq show 0:17 --raw | jq ."),
        ],
        ..NOTHING
    },
    Words { command: "dlq stats", examples: &[("Since yesterday:", "dlq stats --since 1day")], ..NOTHING },
    Words {
        command: "dlq plan",
        files: &[PLAN, EVENTS],
        examples: &[
            (
                "All that the target refused, newer states looked up in the audit log:",
                "dlq plan --error 'answered 422' --events-file tracker.events -o plan.json",
            ),
            (
                "Repaired on the way:",
                "dlq plan --reason VALIDATION_ERROR --patch '.currency = \"EUR\"' -o plan.json",
            ),
        ],
        ..NOTHING
    },
    Words {
        command: "dlq apply",
        files: &[PLAN, JOURNAL, EVENTS],
        examples: &[
            ("Everything but writing:", "dlq apply plan.json --dry-run"),
            (
                "Begin with few, end it when too many fail again:",
                "dlq apply plan.json --canary 1,10,100 --abort-above 5% --rate 200",
            ),
            (
                "From a script, with progress for Prometheus:",
                "dlq apply plan.json --yes --json --metrics-addr 127.0.0.1:9466",
            ),
        ],
        ..NOTHING
    },
    Words {
        command: "dlq status",
        files: &[PLAN, JOURNAL, EVENTS],
        examples: &[(
            "With the audit log, which names every replay:",
            "dlq status plan.json --events-file tracker.events",
        )],
        ..NOTHING
    },
    Words {
        command: "dlq replay",
        files: &[PLAN, JOURNAL],
        examples: &[
            ("One, with a value put right:", "dlq replay 2d3e68ed --set /total=12.50"),
            ("All of one order, into another topic:", "dlq replay --order-id o-17 --to orders-repair --yes"),
        ],
        ..NOTHING
    },
    Words {
        command: "dlq edit",
        environment: &[("VISUAL, EDITOR", "the editor, the first of them that is set")],
        files: &[PLAN, JOURNAL],
        examples: &[("In an editor:", "dlq edit 2d3e68ed")],
    },
    Words {
        command: "dlq discard",
        examples: &[(
            "With the reason that others will read:",
            "dlq discard --key test-1 --why 'orders of a test'",
        )],
        ..NOTHING
    },
    Words {
        command: "dlq reopen",
        examples: &[(
            "Taken back:",
            "dlq reopen 2d3e68ed-6f2c-5005-a1b5-9f37d8781ae8 --why 'it was none of them'",
        )],
        ..NOTHING
    },
    Words {
        command: "dlq purge",
        examples: &[
            ("What is settled, up to the first open one of each partition:", "dlq purge"),
            ("Everything, from a script:", "dlq purge --force --confirm orders-dlq"),
        ],
        ..NOTHING
    },
    Words {
        command: "dlq export",
        files: &[("FILE", "JSON Lines, mode 0600; it must not exist yet")],
        examples: &[
            ("All of them:", "dlq export -o letters.jsonl"),
            ("Open ones, into a pipe:", "dlq export --status open -o - | gzip > letters.jsonl.gz"),
        ],
        ..NOTHING
    },
    Words {
        command: "dlq import",
        files: &[("FILE", "what dlq export wrote")],
        examples: &[("Into another topic:", "dlq import letters.jsonl --topic orders-dlq-copy")],
        ..NOTHING
    },
    Words {
        command: "audit",
        files: &[EVENTS],
        examples: &[
            ("Is the chain whole?", "audit verify tracker.events"),
            ("Is every record accounted for?", "audit prove tracker.events"),
        ],
        ..NOTHING
    },
    Words {
        command: "audit verify",
        files: &[EVENTS],
        examples: &[(
            "A sealed segment and the live one:",
            "audit verify tracker.events.000001 tracker.events",
        )],
        ..NOTHING
    },
    Words {
        command: "audit prove",
        files: &[EVENTS],
        examples: &[(
            "Against the topic and the group that wrote it:",
            "audit prove tracker.events --topic orders --group order-tracker-group",
        )],
        ..NOTHING
    },
    Words {
        command: "audit trace",
        files: &[EVENTS],
        examples: &[("One order:", "audit trace o-17")],
        ..NOTHING
    },
    Words {
        command: "audit cat",
        files: &[EVENTS],
        examples: &[(
            "The dead letters of the last hour:",
            "audit cat --since 1h --outcome dead_lettered | jq .kafka_key",
        )],
        ..NOTHING
    },
    Words {
        command: "audit rotate",
        files: &[EVENTS],
        examples: &[("Before a backup:", "audit rotate --timeout 1m")],
        ..NOTHING
    },
];
