//! The plugins that come with the broker, inside it: built by the build script from `plugins/`.

/// Name, size, and the component, packed.
static STOCK: &[(&str, usize, &[u8])] = include!(concat!(env!("OUT_DIR"), "/stock.rs"));

/// Their names, in order.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    STOCK.iter().map(|(name, ..)| *name)
}

/// The component of that name.
pub(crate) fn component(name: &str) -> Option<Vec<u8>> {
    let (_, size, packed) = STOCK.iter().find(|(known, ..)| *known == name)?;
    Some(zstd::bulk::decompress(packed, *size).expect("the build script packed it"))
}

#[cfg(test)]
mod tests {
    use brooklet_plugin::inspect;

    use super::*;

    #[test]
    fn all_twenty_are_there_and_are_what_their_manifests_say() {
        let roles = [
            ("avro", "serde"),
            ("cbor", "serde"),
            ("file", "source sink"),
            ("filter", "transform"),
            ("flatten", "transform"),
            ("generator", "source"),
            ("geo", "partitioner"),
            ("http", "source sink"),
            ("json-schema", "serde"),
            ("keep-n", "compaction"),
            ("latest-by-header-version", "compaction"),
            ("latest-by-timestamp", "compaction"),
            ("mask", "transform"),
            ("merge-json", "compaction"),
            ("murmur2", "partitioner"),
            ("project", "transform"),
            ("rendezvous", "partitioner"),
            ("sticky", "partitioner"),
            ("time-bucket", "partitioner"),
            ("ttl", "compaction"),
        ];
        assert_eq!(names().collect::<Vec<_>>(), roles.map(|(name, _)| name));
        for (name, roles) in roles {
            let inspected = inspect(&component(name).unwrap()).unwrap();
            let manifest = inspected.manifest;
            assert_eq!(manifest.name, name);
            let own: Vec<&str> = manifest.roles.iter().map(|role| role.name()).collect();
            assert_eq!(own.join(" "), roles, "{name}");
            assert!(!manifest.description.is_empty() && manifest.config.is_some(), "{name}");
            assert_eq!(manifest.merges, name == "merge-json", "{name}");
        }
        assert!(component("nobody").is_none());
    }
}
