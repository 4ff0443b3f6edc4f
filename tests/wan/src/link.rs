//! A link between two namespaces: a TUN device in each, and a thread that carries packets from one to the other.
//!
//! **Never** decides what becomes of a packet: that is [`path`](crate::path).

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::failure::{Failure, context};
use crate::path::{Fate, Path, Terms};
use crate::space::Space;

/// The client's address, and the broker's.
pub(crate) const CLIENT: &str = "10.77.0.1";
pub(crate) const BROKER: &str = "10.77.0.2";
/// As over Ethernet.
const MTU: u16 = 1500;
/// Packets taken from one device before what has arrived is looked after.
const TURN_MAX: usize = 32;
/// How soon the thread sees that it is to end.
const WAIT_MAX: Duration = Duration::from_millis(20);

/// What became of the packets of both directions.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) carried: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) dropped: AtomicU64,
}

/// A link, its two ends, and the thread that is it.
pub(crate) struct Link {
    pub(crate) client: Space,
    pub(crate) broker: Space,
    pub(crate) counts: Arc<Counts>,
    /// The devices' names, the client's first.
    devices: [String; 2],
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Makes both namespaces and what is between them, the same in both directions.
    pub(crate) fn make(terms: Terms, seed: u64) -> Result<Link, Failure> {
        let (client, broker) = (Space::make()?, Space::make()?);
        let (near, near_name) = end(&client, CLIENT)?;
        let (far, far_name) = end(&broker, BROKER)?;
        let (ends, devices) = ([near, far], [near_name, far_name]);
        let paths = [Path::new(terms, seed), Path::new(terms, !seed)];
        let (stop, counts) = (Arc::new(AtomicBool::new(false)), Arc::new(Counts::default()));
        let mut carrier = Carrier { ends, paths, began: Instant::now(), counts: counts.clone() };
        let until = stop.clone();
        let carry = move || {
            while !until.load(Ordering::Relaxed) {
                carrier.turn();
            }
        };
        let thread = std::thread::Builder::new().name("link".to_owned()).spawn(carry);
        let thread = Some(thread.map_err(context("start a thread"))?);
        Ok(Link { client, broker, counts, devices, stop, thread })
    }

    /// Chooses how TCP controls its sending at both ends.
    pub(crate) fn control_tcp_by(&self, algorithm: &str) -> Result<(), Failure> {
        let [near, far] = &self.devices;
        self.client.control_tcp_by(algorithm, near, BROKER)?;
        self.broker.control_tcp_by(algorithm, far, CLIENT)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A panic of its own has been reported where it happened.
            let _ = thread.join();
        }
    }
}

fn end(space: &Space, address: &str) -> Result<(SyncDevice, String), Failure> {
    // The system chooses the number; a device stays ours when it moves to another namespace.
    let device = DeviceBuilder::new().name("bwan%d").mtu(MTU).enable(false).build_sync();
    let device = device.map_err(context("make a TUN device"))?;
    device.set_nonblocking(true).map_err(context("set up a TUN device"))?;
    let name = device.name().map_err(context("ask for a device's name"))?;
    space.adopt(&name, address)?;
    Ok((device, name))
}

struct Carrier {
    ends: [SyncDevice; 2],
    /// From the first end to the second, and back.
    paths: [Path; 2],
    began: Instant,
    counts: Arc<Counts>,
}

impl Carrier {
    fn turn(&mut self) {
        let [first, second] = &self.ends;
        let [there, back] = &mut self.paths;
        for (from, path, to) in [(first, there, second), (second, back, first)] {
            take(from, path, self.began, &self.counts);
            while let Some(packet) = path.arrived(self.began.elapsed()) {
                // A device takes everything, but one that is not up yet takes nothing, as a cable that is not plugged in.
                let _ = to.send(&packet);
            }
        }
        self.wait();
    }

    /// Until a packet comes or arrives.
    fn wait(&self) {
        let next = self.paths.iter().filter_map(Path::next_arrival).min();
        let now = self.began.elapsed();
        let wait = next.map_or(WAIT_MAX, |at| at.saturating_sub(now).min(WAIT_MAX));
        let wait = Timespec::try_from(wait).expect("milliseconds fit");
        let [first, second] = &self.ends;
        let mut ends = [PollFd::new(first, PollFlags::IN), PollFd::new(second, PollFlags::IN)];
        // A signal, or whatever else wakes us early, costs one turn.
        let _ = poll(&mut ends, Some(&wait));
    }
}

fn take(from: &SyncDevice, path: &mut Path, began: Instant, counts: &Counts) {
    let mut buffer = [0; MTU as usize];
    for _ in 0..TURN_MAX {
        let bytes = match from.recv(&mut buffer) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
            // The device is not up yet.
            Err(_) => return,
        };
        let packet = buffer.get(..bytes).expect("no more than fits");
        let count = match path.offer(began.elapsed(), packet) {
            Fate::Carried => &counts.carried,
            Fate::Lost => &counts.lost,
            Fate::Dropped => &counts.dropped,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
