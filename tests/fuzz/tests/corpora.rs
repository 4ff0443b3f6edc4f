//! Every target over its corpus, and over some thousand mutations of it: what fuzzing has found stays mended without a fuzzer.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use brooklet_client::request::CALLS;
use brooklet_fuzz::{TARGETS, Target, auth, client, request};
use brooklet_wire::frame::parse_header;
use brooklet_wire::message::Bytes;
use brooklet_wire::version::Api;

/// Of each target: some seconds together, most of them spent on hashing passwords.
const MUTATIONS: usize = 2_000;
const SEED: u64 = 20_261_126;

fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// SplitMix64, so that a failure repeats.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let end = u64::try_from(end.max(1)).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % end).unwrap()
    }

    fn byte(&mut self) -> u8 {
        const EDGES: [u8; 10] = [0, 1, 2, 0x7f, 0x80, 0xfe, 0xff, b'|', b',', b'='];
        let any = u8::try_from(self.below(256)).unwrap();
        if any & 1 == 0 { any } else { EDGES[self.below(EDGES.len())] }
    }

    /// A few bytes changed, cut off, doubled, put in, or taken from another input.
    fn mutated(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[place] = self.byte(),
                1 if !bytes.is_empty() => bytes[place] ^= 1 << self.below(8),
                2 => bytes.truncate(place),
                3 => bytes.insert(place, self.byte()),
                4 => bytes.extend_from_slice(&other[self.below(other.len())..]),
                _ => bytes.extend_from_within(place..),
            }
        }
        bytes
    }
}

/// The input that a panic was about, for a person to keep.
struct Blame<'a> {
    target: &'a str,
    input: &'a [u8],
}

impl Drop for Blame<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} over {:?}", self.target, self.input.escape_ascii().to_string());
        }
    }
}

fn run(target: Target, input: &[u8]) {
    let _blame = Blame { target: target.name, input };
    (target.run)(input);
}

#[test]
fn every_target_takes_its_corpus_and_what_is_made_of_it() {
    for target in TARGETS {
        let corpus = corpus(target.name);
        assert!(!corpus.is_empty(), "{} has no corpus", target.name);
        for (_, input) in &corpus {
            run(target, input);
        }
        let mut random = Random(SEED);
        for _ in 0..MUTATIONS {
            let (_, input) = &corpus[random.below(corpus.len())];
            let (_, other) = &corpus[random.below(corpus.len())];
            let mutated = random.mutated(input, other);
            run(target, &mutated);
        }
    }
}

#[test]
fn every_folder_has_its_target() {
    let names: BTreeSet<&str> = TARGETS.iter().map(|target| target.name).collect();
    for entry in fs::read_dir(folder("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(name.as_str()), "corpus/{name} is of no target");
    }
}

#[test]
fn every_request_in_every_version_is_in_the_corpus_and_well_formed() {
    let mut versions = BTreeSet::new();
    for (path, frame) in corpus("request") {
        let mut body = Bytes::from(frame);
        let header = parse_header(&mut body).unwrap();
        let api = Api::from_wire(header.api).filter(|api| api.serves(header.version));
        match api.filter(|api| request::decode(*api, body, header.version).is_ok()) {
            Some(api) => {
                versions.insert((api, header.version));
            }
            None => {
                let name = path.file_name().unwrap().to_string_lossy();
                assert!(name.starts_with("broken"), "{name} is not well-formed");
            }
        }
    }
    for api in Api::all() {
        for version in api.served_from()..=api.versions().1 {
            assert!(versions.contains(&(api, version)), "{api:?} v{version} is missing");
        }
    }
}

#[test]
fn every_answer_to_our_client_is_in_the_corpus_and_well_formed() {
    let mut versions = BTreeSet::new();
    for (path, input) in corpus("response") {
        let (api, rest) = input.split_first_chunk().unwrap();
        let (version, frame) = rest.split_first_chunk().unwrap();
        let (api, version) = (i16::from_be_bytes(*api), i16::from_be_bytes(*version));
        let decoded = client::decode(api, version, Bytes::copy_from_slice(frame));
        decoded.expect("we ask for it").unwrap_or_else(|error| panic!("{path:?}: {error}"));
        versions.insert((api, version));
    }
    for (api, name, (from, to)) in CALLS {
        for version in *from..=*to {
            assert!(versions.contains(&(*api, version)), "{name} v{version} is missing");
        }
    }
}

#[test]
fn honest_conversations_end_with_somebody_who_is_known() {
    let known = |(path, input): (PathBuf, Vec<u8>)| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        auth::converse(&input).then_some(name)
    };
    let known: Vec<String> = corpus("sasl").into_iter().filter_map(known).collect();
    assert_eq!(known, ["scram", "seed-00", "seed-01", "seed-03"]);
}
