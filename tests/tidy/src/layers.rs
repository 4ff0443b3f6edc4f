//! Who may use whom, as data (LAYOUT §3). Adding an edge is a design change with its own commit.

/// Each crate of ours and the crates of ours it may name in `[dependencies]`. Development
/// dependencies are free.
pub const LAYERS: &[(&str, &[&str])] = &[
    ("brooklet-types", &[]),
    ("brooklet-wire", &["brooklet-types"]),
    ("brooklet-auth", &["brooklet-types"]),
    ("brooklet-meta", &["brooklet-types"]),
    ("brooklet-group", &["brooklet-types"]),
    ("brooklet-quorum", &["brooklet-types"]),
    ("brooklet-replica", &["brooklet-types"]),
    ("brooklet-log", &["brooklet-types", "brooklet-wire"]),
    (
        "brooklet-shard",
        &[
            "brooklet-types",
            "brooklet-wire",
            "brooklet-log",
            "brooklet-meta",
            "brooklet-quorum",
            "brooklet-replica",
            "brooklet-group",
        ],
    ),
    ("brooklet-io", &["brooklet-types", "brooklet-log"]),
    ("brooklet-hook", &["brooklet-types", "brooklet-wire", "brooklet-log"]),
    (
        "brooklet-plugin",
        &["brooklet-types", "brooklet-wire", "brooklet-log", "brooklet-hook", "brooklet-io"],
    ),
    (
        "brooklet-broker",
        &[
            "brooklet-types",
            "brooklet-wire",
            "brooklet-auth",
            "brooklet-log",
            "brooklet-meta",
            "brooklet-group",
            "brooklet-shard",
            "brooklet-io",
            "brooklet-hook",
            // A broker is a client of the others: one implementation of connections, QUIC with a fallback to TLS, is enough.
            "brooklet-client",
        ],
    ),
    ("brooklet-connect", &["brooklet-types", "brooklet-wire", "brooklet-hook", "brooklet-client"]),
    ("brooklet-plugin-macros", &[]),
    ("brooklet-plugin-sdk", &["brooklet-plugin-macros"]),
    ("brooklet-plugin-golden", &[]),
    ("brooklet-plugin-testing", &["brooklet-plugin-golden", "brooklet-plugin-sdk"]),
    (
        "brooklet-plugin-runner",
        &[
            "brooklet-types",
            "brooklet-wire",
            "brooklet-hook",
            "brooklet-plugin",
            "brooklet-plugin-golden",
        ],
    ),
    // The client proves who it is by the same mechanisms, of which `auth` has both halves: they are tested
    // against each other, and neither half knows of the broker.
    ("brooklet-client", &["brooklet-types", "brooklet-wire", "brooklet-auth"]),
    // A client on one side, and bytes of clients on the other: it knows nothing of the broker.
    ("brooklet-tunnel", &["brooklet-types", "brooklet-wire", "brooklet-client"]),
    // Two ends of a link: a client of the broker, and the broker's listener with nothing behind it.
    ("brooklet-measure", &["brooklet-io", "brooklet-client"]),
    (
        "brooklet",
        &[
            "brooklet-types",
            "brooklet-wire",
            "brooklet-log",
            "brooklet-meta",
            "brooklet-group",
            "brooklet-shard",
            "brooklet-io",
            "brooklet-hook",
            "brooklet-broker",
            "brooklet-plugin",
            "brooklet-connect",
            "brooklet-plugin-golden",
            "brooklet-plugin-runner",
            "brooklet-client",
            "brooklet-tunnel",
            "brooklet-measure",
        ],
    ),
];

/// Crates that a core never names: they are the world.
pub const WORLD: &[&str] =
    &["tokio", "quinn", "rustls", "wasmtime", "rand", "getrandom", "ron", "serde", "tracing"];
