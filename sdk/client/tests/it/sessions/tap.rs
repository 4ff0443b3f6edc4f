//! What a client asks of a broker over TCP, one request after another; fetches are looked at on the way, and meddled with.

use std::sync::{Arc, Mutex};

use brooklet_client::Address;
use brooklet_wire::frame::parse_header;
use brooklet_wire::message::{
    FetchRequest, FetchResponse, decode_request, encode_request, encode_response,
};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

const FETCH: i16 = 1;

/// What becomes of a fetch.
pub(crate) enum Then {
    /// The broker gets it, as it is now.
    Pass,
    /// This is the answer, and the broker does not hear of it.
    Answer(FetchResponse),
    /// The connection ends, before the broker has it.
    EndBefore,
    /// The connection ends instead of the answer.
    EndAfter,
}

/// Is shown each fetch with its number, from 0 on.
type Meddler = Box<dyn FnMut(usize, &mut FetchRequest) -> Then + Send>;

pub(crate) struct Tap {
    pub(crate) address: Address,
    seen: Arc<Mutex<Seen>>,
    count: watch::Receiver<usize>,
}

struct Seen {
    count: watch::Sender<usize>,
    /// As the client has sent them.
    fetches: Vec<FetchRequest>,
    meddler: Meddler,
}

impl Tap {
    pub(crate) async fn start(
        broker: Address,
        meddler: impl FnMut(usize, &mut FetchRequest) -> Then + Send + 'static,
    ) -> Tap {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string().parse().unwrap();
        let (sender, count) = watch::channel(0);
        let seen = Seen { count: sender, fetches: Vec::new(), meddler: Box::new(meddler) };
        let seen = Arc::new(Mutex::new(seen));
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let there = TcpStream::connect((broker.host.as_str(), broker.port)).await.unwrap();
                tokio::spawn(carry(stream, there, shared.clone()));
            }
        });
        Tap { address, seen, count }
    }

    /// Returns when a fetch is the last one, as far as it is known.
    pub(crate) async fn hears(&self, is_last: impl Fn(&FetchRequest) -> bool) {
        let mut count = self.count.clone();
        let is_there = |_: &usize| self.fetches().last().is_some_and(&is_last);
        count.wait_for(is_there).await.unwrap();
    }

    /// What has been asked so far.
    pub(crate) fn fetches(&self) -> Vec<FetchRequest> {
        self.seen.lock().unwrap().fetches.clone()
    }
}

async fn carry(mut client: TcpStream, mut broker: TcpStream, seen: Arc<Mutex<Seen>>) {
    while let Some(frame) = read(&mut client).await {
        let (then, frame, answer) = meddle(&seen, frame);
        let count = seen.lock().unwrap().count.clone();
        count.send_modify(|count| *count += 1);
        if matches!(then, Then::EndBefore) {
            return;
        }
        let answer = match answer {
            Some(answer) => answer,
            None => {
                if broker.write_all(&frame).await.is_err() {
                    return;
                }
                let Some(answer) = read(&mut broker).await else { return };
                answer
            }
        };
        if matches!(then, Then::EndAfter) || client.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// What is to be done with a request, what the broker gets for it, and what the client gets without the broker.
fn meddle(seen: &Mutex<Seen>, frame: Bytes) -> (Then, Bytes, Option<Bytes>) {
    let mut body = frame.slice(4..);
    let header = parse_header(&mut body).unwrap();
    if header.api != FETCH {
        return (Then::Pass, frame, None);
    }
    let (correlation, version) = (header.correlation, header.version);
    let mut request: FetchRequest = decode_request(body, version).unwrap();
    let seen = &mut *seen.lock().unwrap();
    let number = seen.fetches.len();
    seen.fetches.push(request.clone());
    let then = (seen.meddler)(number, &mut request);
    let answer = match &then {
        Then::Answer(answer) => Some(encode_response(correlation, version, answer).unwrap()),
        Then::Pass | Then::EndBefore | Then::EndAfter => None,
    };
    (then, encode_request(correlation, version, Some("tap"), &request).unwrap(), answer)
}

/// A frame, with its length.
async fn read(stream: &mut TcpStream) -> Option<Bytes> {
    let length = stream.read_u32().await.ok()?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + usize::try_from(length).unwrap(), 0);
    stream.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame.into())
}
