//! Fetch sessions with a broker: what is asked in them, and that records come once and in order whatever becomes of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_client::consumer::Assignor;
use brooklet_client::{
    Address, Client, ClientConfig, Consumer, ConsumerConfig, Event, GroupConfig,
};
use brooklet_types::ErrorCode;
use brooklet_wire::message::{FetchRequest, FetchResponse, make};

use self::tap::{Tap, Then};
use crate::lanes::{Broker, SOON, client, create, from_the_start, send_numbers, soon};

mod tap;

/// How long somebody is waited for before it is another's turn.
const LITTLE: Duration = Duration::from_millis(50);

/// What a fetch says: its session and epoch, whom it names from where on, and whom it forgets.
type Said = (i32, i32, BTreeMap<i32, i64>, Vec<i32>);

fn said(request: &FetchRequest) -> Said {
    let named = request.topics.iter().flat_map(|topic| &topic.partitions);
    let forgotten = request.forgotten_topics_data.iter().flat_map(|topic| &topic.partitions);
    let named = named.map(|it| (it.partition, it.fetch_offset));
    (request.session_id, request.session_epoch, named.collect(), forgotten.copied().collect())
}

fn near(broker: &Broker) -> Client {
    Client::new(ClientConfig::new(vec![broker.tcp.clone()]))
}

fn through(address: &Address) -> Client {
    client(ClientConfig::new(Vec::new()), address.clone(), 1)
}

/// Reads until each partition has come to `count`; sees each number in its place, once.
async fn read_up_to(consumer: &mut Consumer, next: &mut BTreeMap<u32, u32>, count: u32) {
    while next.values().any(|next| *next < count) {
        let Event::Records(batch) = consumer.poll(SOON).await.unwrap() else {
            panic!("nothing comes after {next:?}");
        };
        let next = next.get_mut(&batch.partition).unwrap();
        for record in batch.records {
            assert_eq!(record.value.unwrap(), next.to_string(), "in {}", batch.partition);
            *next += 1;
        }
    }
}

/// Reads partition 0 up to an offset; nothing else has anything.
async fn read_zero_up_to(consumer: &mut Consumer, end: i64) {
    while consumer.positions()[&("t".to_owned(), 0)] < end {
        let event = consumer.poll(SOON).await.unwrap();
        assert!(matches!(&event, Event::Records(batch) if batch.partition == 0), "{event:?}");
    }
}

fn zeros(partitions: u32) -> BTreeMap<u32, u32> {
    (0..partitions).map(|partition| (partition, 0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_said_once_and_then_what_changed() {
    let broker = Broker::start().await;
    let (near, tap) = (near(&broker), Tap::start(broker.tcp.clone(), |_, _| Then::Pass).await);
    create(&near, 3).await;
    let client = through(&tap.address);
    let mut consumer =
        Consumer::assign(client.clone(), ConsumerConfig::default(), from_the_start(3));
    for end in [10, 20, 30] {
        soon(Box::pin(send_numbers(&near, 1, 10))).await;
        read_zero_up_to(&mut consumer, end).await;
    }
    consumer.seek(("t".to_owned(), 0), 5);
    read_zero_up_to(&mut consumer, 30).await;
    soon(consumer.close()).await.unwrap();
    soon(client.close()).await;
    // What is said last is behind an answer that is held back.
    soon(tap.hears(|fetch| fetch.session_epoch == -1)).await;
    let asked: Vec<Said> = tap.fetches().iter().map(said).collect();
    let (first, others) = asked.split_first().unwrap();
    let all = BTreeMap::from([(0, 0), (1, 0), (2, 0)]);
    assert_eq!(*first, (0, 0, all, vec![]));
    let (last, others) = others.split_last().unwrap();
    let session = last.0;
    assert!(session > 0);
    assert_eq!(*last, (session, -1, BTreeMap::new(), vec![]), "it takes its leave");
    for (epoch, (id, said, named, forgotten)) in (1..).zip(others) {
        assert_eq!((*id, *said), (session, epoch));
        assert!(named.keys().all(|partition| *partition == 0), "{named:?}");
        assert!(forgotten.is_empty());
    }
    assert!(others.iter().any(|(_, _, named, _)| named.get(&0) == Some(&5)), "{others:?}");
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_member_gives_up_its_session_forgets() {
    let broker = Broker::start().await;
    let (near, tap) = (near(&broker), Tap::start(broker.tcp.clone(), |_, _| Then::Pass).await);
    create(&near, 4).await;
    let member = |client: Client| {
        let group = GroupConfig {
            assignors: vec![Assignor::CooperativeSticky],
            heartbeat_interval: LITTLE,
            ..GroupConfig::new("g")
        };
        Consumer::subscribe(client, ConsumerConfig::default(), group, vec!["t".to_owned()])
    };
    let (mut first, mut second) = (member(through(&tap.address)), member(near.clone()));
    while first.positions().len() < 4 || tap.fetches().len() < 2 {
        first.poll(LITTLE).await.unwrap();
    }
    let asked = || -> Vec<Said> { tap.fetches().iter().map(said).collect() };
    let forgets = async {
        loop {
            first.poll(LITTLE).await.unwrap();
            second.poll(LITTLE).await.unwrap();
            if let Some(found) = asked().into_iter().find(|said| !said.3.is_empty()) {
                return found;
            }
        }
    };
    let (id, epoch, _, forgotten) = soon(Box::pin(forgets)).await;
    assert!(id > 0 && epoch > 0, "in the session that there was");
    assert_eq!(forgotten.len(), 2);
    let kept: BTreeSet<u32> = first.positions().keys().map(|(_, index)| *index).collect();
    assert!(forgotten.iter().all(|gone| !kept.contains(&u32::try_from(*gone).unwrap())));
    soon(first.close()).await.unwrap();
    soon(second.close()).await.unwrap();
    broker.stop().await;
}

/// Does something to every third fetch.
fn meddle(what: &str) -> impl FnMut(usize, &mut FetchRequest) -> Then + Send + 'static {
    let what = what.to_owned();
    move |number, request| {
        if what == "no room for sessions" {
            (request.session_id, request.session_epoch) = (0, -1);
            return Then::Pass;
        }
        if number % 3 != 2 {
            return Then::Pass;
        }
        let answer = |code: ErrorCode| {
            Then::Answer(make(|it: &mut FetchResponse| it.error_code = code.to_wire()))
        };
        match what.as_str() {
            "another epoch" => request.session_epoch = request.session_epoch.max(1) + 5,
            "another session" => request.session_id ^= 1,
            "names and ids" => return answer(ErrorCode::FetchSessionTopicIdError),
            "lost before" => return Then::EndBefore,
            "lost after" => return Then::EndAfter,
            other => panic!("what is {other}?"),
        }
        Then::Pass
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_come_once_and_in_order_whatever_becomes_of_a_session() {
    let broker = Broker::start().await;
    let near = near(&broker);
    create(&near, 3).await;
    soon(Box::pin(send_numbers(&near, 3, 60))).await;
    let table = [
        "no room for sessions",
        "another epoch",
        "another session",
        "names and ids",
        "lost before",
        "lost after",
    ];
    for what in table {
        let tap = Tap::start(broker.tcp.clone(), meddle(what)).await;
        let client = through(&tap.address);
        // A batch or two at a time, so that there are many fetches.
        let config = ConsumerConfig {
            fetch_bytes_max: 300,
            partition_bytes_max: 100,
            ..ConsumerConfig::default()
        };
        let mut consumer = Consumer::assign(client.clone(), config, from_the_start(3));
        let mut next = zeros(3);
        soon(Box::pin(read_up_to(&mut consumer, &mut next, 60))).await;
        soon(consumer.close()).await.unwrap();
        soon(client.close()).await;
        let asked: Vec<Said> = tap.fetches().iter().map(said).collect();
        let full = asked.iter().filter(|(_, epoch, ..)| *epoch == 0).count();
        let is_all = full == asked.len();
        assert_eq!(is_all, what == "no room for sessions", "{what}: {asked:?}");
        assert!(full >= 3, "{what}: it starts over: {asked:?}");
        assert!(asked.iter().filter(|said| said.1 == 0).all(|said| said.2.len() == 3), "{what}");
    }
    broker.stop().await;
}
