//! A way between a client and a broker on which packets are lost: those that are large, for as long as one says so.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use brooklet_client::Address;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// Small requests, acknowledgements and what keeps a connection going stay below it.
const LARGE: usize = 1000;

pub(crate) struct Lossy {
    pub(crate) address: Address,
    pub(crate) to_broker: Arc<Way>,
    pub(crate) to_client: Arc<Way>,
    _both: JoinSet<()>,
}

/// One direction.
#[derive(Default)]
pub(crate) struct Way {
    loses: AtomicBool,
    lost: AtomicU32,
    news: Notify,
}

impl Way {
    pub(crate) fn lose_large(&self) {
        self.lost.store(0, Ordering::SeqCst);
        self.loses.store(true, Ordering::SeqCst);
    }

    pub(crate) fn lose_nothing(&self) {
        self.loses.store(false, Ordering::SeqCst);
    }

    /// Returns when something was lost.
    pub(crate) async fn has_lost(&self) {
        while self.lost.load(Ordering::SeqCst) == 0 {
            self.news.notified().await;
        }
    }

    fn passes(&self, bytes: usize) -> bool {
        let lost = bytes > LARGE && self.loses.load(Ordering::SeqCst);
        if lost {
            self.lost.fetch_add(1, Ordering::SeqCst);
            self.news.notify_one();
        }
        !lost
    }
}

impl Lossy {
    /// For one client.
    pub(crate) async fn start(broker: &Address) -> Lossy {
        let bind = || UdpSocket::bind((Ipv4Addr::LOCALHOST, 0));
        let (front, back) = (Arc::new(bind().await.unwrap()), Arc::new(bind().await.unwrap()));
        back.connect((Ipv4Addr::LOCALHOST, broker.port)).await.unwrap();
        let port = front.local_addr().unwrap().port();
        let address = Address { port, ..broker.clone() };
        let (to_broker, to_client) = (Arc::new(Way::default()), Arc::new(Way::default()));
        let client = Arc::new(std::sync::OnceLock::<SocketAddr>::new());
        let mut both = JoinSet::new();
        {
            let (front, back, client) = (front.clone(), back.clone(), client.clone());
            let way = to_broker.clone();
            both.spawn(async move {
                let mut packet = vec![0; 1 << 16];
                loop {
                    let (count, from) = front.recv_from(&mut packet).await.unwrap();
                    client.get_or_init(|| from);
                    if way.passes(count) {
                        back.send(&packet[..count]).await.unwrap();
                    }
                }
            });
        }
        let way = to_client.clone();
        both.spawn(async move {
            let mut packet = vec![0; 1 << 16];
            loop {
                let count = back.recv(&mut packet).await.unwrap();
                let client = client.get().expect("it was the first to speak");
                if way.passes(count) {
                    front.send_to(&packet[..count], client).await.unwrap();
                }
            }
        });
        Lossy { address, to_broker, to_client, _both: both }
    }
}
