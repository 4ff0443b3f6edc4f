//! Writes `corpus/` anew: what honest peers say, from the scripts that a real Kafka was recorded with, and some that are not
//! honest. What fuzzing has found beside it stays.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use brooklet_auth::Secret;
use brooklet_auth::scram::{NONCE_BYTES, ScramClient};
use brooklet_client::consumer::{Assignor, protocol};
use brooklet_client::request::{CALLS, Call};
use brooklet_fuzz::request;
use brooklet_golden::schema::{Field, Kind, Schemas};
use brooklet_golden::script::{self, Action, Content};
use brooklet_golden::value::{Value, unhex};
use brooklet_golden::{codec, script_names, script_path, secured_names};
use brooklet_types::{Offset, ProducerEpoch, ProducerId, ScramHash, Timestamp};
use brooklet_wire::batch::{Attributes, BatchBuilder};
use brooklet_wire::compress::{Codec, compress};
use brooklet_wire::frame::parse_header;
use brooklet_wire::message::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest,
    AlterPartitionResponse, ApiVersionsRequest, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, Bytes, DescribeClusterResponse,
    EnvelopeRequest, EnvelopeResponse, FetchResponse, FindCoordinatorResponse, JoinQuorumRequest,
    JoinQuorumResponse, KafkaResponse, MetadataResponse, ProduceResponse, QuorumMessageRequest,
    QuorumMessageResponse, Uuid, alter_partition_request as alter_request,
    alter_partition_response as alter_response, broker_registration_request as registration,
    describe_cluster_response as cluster, encode_request, encode_response, fetch_response as fetch,
    find_coordinator_response as coordinator, make, metadata_response as metadata,
    produce_response as produce, with_tagged_number,
};
use brooklet_wire::version::{Api, Audience};

/// Larger ones teach a fuzzer nothing more.
const SEED_BYTES_MAX: usize = 1 << 10;

type Seeds = BTreeMap<String, Vec<u8>>;

fn main() {
    let (requests, broken) = requests();
    let tunnel = tunnel(&requests);
    let (peers_ask, peers_answer) = peers();
    write("request", &requests.into_iter().chain(broken).chain(peers_ask).collect());
    write("batch", &batches(40));
    write("produced", &produced());
    write("compressed", &compressed());
    write("sasl", &sasl());
    write("token", &tokens());
    write("scram_server", &scram_server());
    write(
        "subject",
        &named(&["CN=ada", "OU=Sales,CN=O\\,Brien", "UID=ada,OU=x", "C=DE", "CN=\\e4"]),
    );
    write("tunnel", &tunnel);
    write("response", &responses().into_iter().chain(peers_answer).collect());
    write("fetched", &fetched());
    let (assignments, subscriptions) = groups();
    write("assignment", &assignments);
    write("subscription", &subscriptions);
}

fn write(target: &str, seeds: &Seeds) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).expect("the corpus can be written");
    for (name, seed) in seeds {
        fs::write(folder.join(name), seed).expect("the corpus can be written");
    }
}

fn named<T: AsRef<[u8]>>(seeds: &[T]) -> Seeds {
    let numbered = seeds.iter().enumerate();
    numbered.map(|(number, seed)| (format!("seed-{number:02}"), seed.as_ref().to_vec())).collect()
}

/// A request in each version, the smallest that the scripts have, or one with nothing in it; and what they have of frames that are none.
fn requests() -> (Seeds, Seeds) {
    let schemas = Schemas::read();
    let (mut seeds, mut broken) = (Seeds::new(), Seeds::new());
    for api in Api::served_to(Audience::Everybody) {
        for version in api.served_from()..=api.versions().1 {
            let message = schemas.message(&format!("{}Request", api.name()));
            let body = codec::encode(message, version, &Value::Record(Vec::new()), 0);
            keep(&mut seeds, api, version, &body);
        }
    }
    for name in script_names().into_iter().chain(secured_names()) {
        let text = fs::read_to_string(script_path(&name)).expect("the scripts can be read");
        for step in script::parse(&schemas, &text) {
            match step.action {
                Action::Request { api, version, content: Content::Value(text), .. } => {
                    let Some(key) = Api::all().find(|it| it.name() == api) else { continue };
                    let known = !text.contains('$') && key.serves(version);
                    let Some(value) = Value::parse(&text).ok().filter(|_| known) else { continue };
                    let message = schemas.message(&format!("{api}Request"));
                    keep(&mut seeds, key, version, &codec::encode(message, version, &value, 0));
                }
                Action::Bytes(digits) => {
                    let bytes =
                        unhex(digits.trim_start_matches("0x")).expect("a script has digits");
                    let number = broken.len();
                    let frame = bytes.get(4..).unwrap_or_default().to_vec();
                    if parse_header(&mut Bytes::from(frame.clone())).is_ok() {
                        broken.insert(format!("broken-{number:02}"), frame);
                    }
                }
                Action::Request { .. }
                | Action::Until { .. }
                | Action::Await
                | Action::Login { .. }
                | Action::Settle
                | Action::Close => {}
            }
        }
    }
    (seeds, broken)
}

/// Keeps the request if it is one, and says more than what there is without being large.
fn keep(seeds: &mut Seeds, api: Api, version: i16, body: &[u8]) {
    let mut frame = Vec::new();
    frame.extend(api.key().to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend(b"\0\x01c");
    frame.extend(if api.is_flexible(version) { &[0][..] } else { &[] });
    frame.extend(body);
    let is_one = request::decode(api, Bytes::copy_from_slice(body), version).is_ok();
    let name = format!("{}-v{version:02}", api.name());
    let there = seeds.get(&name).map_or(0, Vec::len);
    if is_one && frame.len() <= SEED_BYTES_MAX && frame.len() > there {
        seeds.insert(name, frame);
    }
}

/// Batches whose first offset is this one.
fn batches(base: u64) -> Seeds {
    let of = |codec| {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset::new(base));
        for index in 0..3 {
            let headers: &[(&[u8], _)] = &[(b"name", Some(&b"value"[..])), (b"none", None)];
            let (key, value) = (Some(&b"key"[..]), Some(&b"flights in, flights out"[..]));
            builder.push(Timestamp(1000 - index), key, value, headers).expect("it fits");
        }
        builder.build().expect("it fits")
    };
    let mut seeds = named(&Codec::ALL.map(of));
    seeds.insert("two".to_owned(), [of(Codec::None), of(Codec::Lz4)].concat());
    seeds
}

/// Batches for topics of every kind.
fn produced() -> Seeds {
    let topics = [0x00, 0x10, 0x23, 0x31, 0xf2, 0xf1];
    let pairs = topics.into_iter().zip(batches(0));
    pairs.map(|(topic, (name, batch))| (name, [vec![topic], batch].concat())).collect()
}

fn compressed() -> Seeds {
    let of = |codec: Codec| {
        let number = (0..8).find(|number| Codec::from_wire(*number) == Some(codec));
        let number = number.and_then(|number| u8::try_from(number).ok()).expect("it has a number");
        let text = b"flights in, flights out; ".repeat(8);
        [vec![number], compress(codec, None, &text).expect("it is small")].concat()
    };
    named(&Codec::ALL.map(of))
}

fn sasl() -> Seeds {
    let (mut client, first) =
        ScramClient::new(ScramHash::Sha256, "ada", Secret::new("secret"), [2; NONCE_BYTES]);
    // The server's half of the nonce, its salt and its iterations, as the target has them.
    let nonce = STANDARD.encode([2; NONCE_BYTES]) + &STANDARD.encode([1; NONCE_BYTES]);
    let challenge = format!("r={nonce},s={},i=4096", STANDARD.encode([9; 24]));
    let proof = client.step(challenge.as_bytes()).expect("it is a challenge").unwrap_or_default();
    let scram = [b"v|1SCRAM-SHA-256|a".as_slice(), &first, b"|a", &proof, b"|x"].concat();
    let token = "n,,\u{1}auth=Bearer eyJhbGciOiJFUzI1NiJ9.e30.AAAA\u{1}\u{1}";
    let bearer = format!("v|1OAUTHBEARER|a{token}|a\u{1}|a");
    let others: [&[u8]; 6] = [
        b"v|1PLAIN|a\0ada\0secret|x|v|1PLAIN|a\0ada\0secret|x",
        b"0PLAIN|t\0ada\0secret|x",
        b"vx|v|1GSSAPI|a",
        b"1PLAIN|aada\0ada\0secret|1SCRAM-SHA-256|x",
        b"1PLAIN|a\0eve\0secret|x",
        b"x",
    ];
    let mut seeds = named(&others);
    seeds.insert("scram".to_owned(), scram);
    seeds.insert("bearer".to_owned(), bearer.into_bytes());
    seeds
}

fn tokens() -> Seeds {
    let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
    let head = part(r#"{"alg":"ES256","typ":"JWT"}"#);
    let claims =
        part(r#"{"sub":"ada","iat":1799999000,"exp":1800001000,"aud":["a"],"scope":"a b"}"#);
    let signature = URL_SAFE_NO_PAD.encode([1; 64]);
    // RFC 7515, A.3: rightly signed, and long over.
    let signed = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                  DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    named(&[
        format!("{head}.{claims}.{signature}"),
        format!("{}.{claims}.", part(r#"{"alg":"none"}"#)),
        format!("{}.{claims}.{signature}", part(r#"{"alg":"RS256","crit":["x"],"kid":"1"}"#)),
        signed.to_owned(),
    ])
}

fn scram_server() -> Seeds {
    let nonce = STANDARD.encode([1; NONCE_BYTES]);
    let salt = STANDARD.encode([9; 24]);
    let challenge = |iterations: u32| format!("r={nonce}server,s={salt},i={iterations}|v=c2VjcmV0");
    named(&[challenge(4096), challenge(1), challenge(u32::MAX), format!("r={nonce}|e=other-error")])
}

/// What is asked, and an answer to each with addresses in it.
fn tunnel(requests: &Seeds) -> Seeds {
    let metadata = answer(12, |it: &mut MetadataResponse| {
        it.brokers.push(make(|it: &mut metadata::MetadataResponseBroker| {
            (it.node_id, it.host, it.port) = (1, "edge.example".into(), 9092);
        }));
    });
    let coordinator = answer(4, |it: &mut FindCoordinatorResponse| {
        it.coordinators.push(make(|it: &mut coordinator::Coordinator| {
            (it.node_id, it.host, it.port) = (1, "edge.example".into(), 9092);
        }));
    });
    let cluster = answer(1, |it: &mut DescribeClusterResponse| {
        it.brokers.push(make(|it: &mut cluster::DescribeClusterBroker| {
            (it.broker_id, it.host, it.port) = (1, "edge.example".into(), 9092);
        }));
    });
    let produce = answer(10, |it: &mut ProduceResponse| {
        it.node_endpoints.push(make(|it: &mut produce::NodeEndpoint| {
            (it.node_id, it.host, it.port) = (1, "edge.example".into(), 9092);
        }));
    });
    let fetch = answer(16, |it: &mut FetchResponse| {
        it.responses.push(make(|it: &mut fetch::FetchableTopicResponse| {
            it.partitions.push(make(|it: &mut fetch::PartitionData| {
                it.records = Some(Bytes::from_static(b"records"));
            }));
        }));
        it.node_endpoints.push(make(|it: &mut fetch::NodeEndpoint| {
            (it.node_id, it.host, it.port) = (1, "edge.example".into(), 9092);
        }));
    });
    let pairs = [
        ("Metadata-v12", metadata),
        ("FindCoordinator-v04", coordinator),
        ("DescribeCluster-v01", cluster),
        ("Produce-v10", produce),
        ("Fetch-v16", fetch),
    ];
    let (mut seeds, mut all, mut answers) = (Seeds::new(), Vec::new(), Vec::new());
    for (name, answer) in pairs {
        let frame = requests.get(name).expect("it was asked in every version");
        let length = u32::try_from(frame.len()).expect("seeds are small");
        let asked = [&length.to_be_bytes()[..], frame].concat();
        seeds.insert(name.to_owned(), joined(&asked, &answer));
        all.extend(asked);
        answers.extend_from_slice(&answer);
    }
    seeds.insert("all".to_owned(), joined(&all, &answers));
    seeds
}

fn joined(asked: &[u8], answers: &[u8]) -> Vec<u8> {
    let length = u16::try_from(asked.len()).expect("seeds are small");
    [&length.to_be_bytes()[..], asked, answers].concat()
}

/// An answer to the correlation that every seed has.
fn answer<R: KafkaResponse + Default>(version: i16, fill: impl FnOnce(&mut R)) -> Bytes {
    encode_response(7, version, &make(fill)).expect("it is an answer")
}

/// An answer to each request of our client in each version: one with nothing in it, and one with one of everything.
fn responses() -> Seeds {
    let schemas = Schemas::read();
    let mut seeds = Seeds::new();
    let are_brokers = |api| Api::from_wire(api).map(Api::audience) == Some(Audience::Brokers);
    for (api, name, (from, to)) in CALLS.iter().filter(|(api, ..)| !are_brokers(*api)) {
        let message = schemas.message(&format!("{name}Response"));
        for version in *from..=*to {
            let is_flexible = message.flexible.contain(version) && *api != ApiVersionsRequest::KEY;
            let mut head = [api.to_be_bytes(), version.to_be_bytes()].concat();
            head.extend(7_i32.to_be_bytes());
            head.extend(if is_flexible { &[0][..] } else { &[] });
            for (what, value) in [
                ("empty", Value::Record(Vec::new())),
                ("full", one_of_each(&message.fields, version)),
            ] {
                let body = codec::encode(message, version, &value, 0);
                let name = format!("{name}-v{version:02}-{what}");
                seeds.insert(name, [&head[..], &body].concat());
            }
        }
    }
    seeds
}

/// What brokers ask each other, and the answers. No transcript has it, so it is written by our own codec.
fn peers() -> (Seeds, Seeds) {
    let mut seeds = (Seeds::new(), Seeds::new());
    let id = Uuid::from_bytes([7; 16]);
    let asked = make(|it: &mut AlterPartitionRequest| {
        it.topics.push(make(|it: &mut alter_request::TopicData| {
            it.topic_id = id;
            it.partitions.push(make(|it: &mut alter_request::PartitionData| {
                it.new_isr_with_epochs.push(make(|it: &mut alter_request::BrokerState| {
                    (it.broker_id, it.broker_epoch) = (1, 41);
                }));
            }));
        }));
    });
    let answer = make(|it: &mut AlterPartitionResponse| {
        it.topics.push(make(|it: &mut alter_response::TopicData| {
            it.topic_id = id;
            it.partitions.push(make(|it: &mut alter_response::PartitionData| it.isr = vec![1, 2]));
        }));
    });
    keep_pair(&mut seeds, asked, answer);
    let asked = make(|it: &mut EnvelopeRequest| {
        it.request_data = "request".into();
        it.request_principal = Some("User:ada".into());
        it.client_host_address = Bytes::from_static(&[127, 0, 0, 1]);
    });
    let answer = make(|it: &mut EnvelopeResponse| {
        it.response_data = Some("response".into());
        it.unknown_tagged_fields = with_tagged_number(41);
    });
    keep_pair(&mut seeds, asked, answer);
    let asked = make(|it: &mut BrokerRegistrationRequest| {
        it.cluster_id = "cluster".into();
        (it.incarnation_id, it.log_dirs) = (id, vec![id]);
        it.listeners.push(make(|it: &mut registration::Listener| it.host = "edge.example".into()));
        it.features.push(make(|it: &mut registration::Feature| it.name = "f".into()));
    });
    keep_pair(&mut seeds, asked, BrokerRegistrationResponse::default());
    let answer = make(|it: &mut BrokerHeartbeatResponse| {
        it.unknown_tagged_fields = with_tagged_number(1);
    });
    keep_pair(&mut seeds, BrokerHeartbeatRequest::default(), answer);
    let asked = AllocateProducerIdsRequest::default();
    keep_pair(&mut seeds, asked, AllocateProducerIdsResponse::default());
    let asked = QuorumMessageRequest { message: "raft".into(), ..QuorumMessageRequest::default() };
    keep_pair(&mut seeds, asked, QuorumMessageResponse::default());
    let asked = JoinQuorumRequest { broker_id: 1, directory: id, ..JoinQuorumRequest::default() };
    let error_message = Some("no".into());
    keep_pair(&mut seeds, asked, JoinQuorumResponse { error_message, ..Default::default() });
    seeds
}

fn keep_pair<R: Call>(seeds: &mut (Seeds, Seeds), request: R, response: R::Response) {
    let (api, version) = (R::KEY, R::VERSIONS.1);
    let asked = encode_request(7, version, Some("c"), &request).expect("it is a request");
    let answer = encode_response(7, version, &response).expect("it is an answer");
    let head = [api.to_be_bytes(), version.to_be_bytes()].concat();
    let length = size_of::<i32>();
    let name = format!("{}-v{version:02}", R::API);
    seeds.0.insert(name.clone(), asked.slice(length..).to_vec());
    seeds.1.insert(name, [&head[..], &answer.slice(length..)].concat());
}

fn one_of_each(fields: &[Field], version: i16) -> Value {
    let there = fields.iter().filter(|field| field.versions.contain(version));
    let each = there.map(|field| (field.name.clone(), one(&field.kind, version)));
    Value::Record(each.collect())
}

fn one(kind: &Kind, version: i16) -> Value {
    match kind {
        Kind::Bool => Value::Bool(true),
        Kind::Int(_) => Value::Int(1),
        Kind::Float => Value::Float(1.5),
        Kind::Uint16 => Value::Int(9092),
        Kind::Text => Value::Text("t".to_owned()),
        Kind::Bytes | Kind::Records => Value::Bytes(b"bytes".to_vec()),
        Kind::Uuid => Value::Bytes(vec![7; 16]),
        Kind::List(element) => Value::List(vec![one(element, version)]),
        Kind::Struct(fields) => one_of_each(fields, version),
    }
}

/// Records for consumers of every kind.
fn fetched() -> Seeds {
    let hows = [[0, 0], [1, 41], [2, 40], [3, 42], [3, 43], [3, 0]];
    let pairs = hows.into_iter().zip(batches(40));
    let mut seeds: Seeds =
        pairs.map(|(how, (name, batch))| (name, [&how[..], &batch].concat())).collect();
    // One transaction, of the producer that has aborted one.
    let transaction = |is_control| {
        let attributes = Attributes(0).with_transactional(true).with_control(is_control);
        let mut builder = BatchBuilder::new(Codec::None).attributes(attributes);
        builder = builder.base_offset(Offset::new(if is_control { 42 } else { 41 }));
        builder = builder.producer(ProducerId(41), ProducerEpoch(0), 0);
        // A marker: its version, and that it aborts.
        builder.push(Timestamp(1000), Some(&[0, 0, 0, 0]), Some(&[0; 6]), &[]).expect("it fits");
        builder.build().expect("it fits")
    };
    let aborted = [&[3, 40][..], &transaction(false), &transaction(true)].concat();
    seeds.insert("aborted".to_owned(), aborted);
    seeds
}

/// Assignments, and subscriptions for each assignor.
fn groups() -> (Seeds, Seeds) {
    let partitions =
        BTreeSet::from([("t".to_owned(), 0), ("t".to_owned(), 2), ("u".to_owned(), 1)]);
    let given = [protocol::encode_assignment(&partitions), Bytes::new()];
    let topics = ["t".to_owned(), "u".to_owned()];
    let numbered = (0_u8..).zip(Assignor::ALL);
    let written = numbered.flat_map(|(number, assignor)| {
        [protocol::NO_GENERATION, 7, 8].map(|generation| {
            let written = protocol::encode_subscription(assignor, &topics, &partitions, generation);
            [&[number][..], &written].concat()
        })
    });
    (named(&given), named(&written.collect::<Vec<_>>()))
}
