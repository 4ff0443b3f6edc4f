//! Where three brokers are: each in a network namespace of its own, on one bridge with us, or all on loopback.
//!
//! **Decides** how brokers are cut off, in which direction and from whom. The kernel of a test machine may lack netfilter and
//! netem, so three means are taken that every kernel has: a link that is down cuts both ways; a queue that is a black hole at one
//! end of a link cuts one way; and a neighbour who is looked for at an address of Ethernet that nobody has is cut off
//! from one broker only.
//!
//! **How it ends.** Bridge, links and namespaces are in a namespace of our own (`main.rs`), and go with it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::failure::{Failure, context};
use crate::step::must;

/// How many brokers there are.
pub(crate) const BROKERS: usize = 3;
/// Where each serves clients.
pub(crate) const CLIENT_PORT: u16 = 9092;
/// Where each hears the others.
pub(crate) const PEER_PORT: u16 = 9192;
/// The bridge.
const BRIDGE: &str = "bfaults";
/// A broker's link, seen from inside.
const INSIDE: &str = "eth0";
/// An address of Ethernet that no device has: it is a local one, and ours are chosen by the kernel.
const NOBODY: &str = "02:00:00:00:00:01";

/// Three places for brokers.
pub(crate) enum Network {
    /// In namespaces.
    Apart(Vec<Space>),
    /// On loopback.
    Loopback,
}

/// A namespace. It is there as long as the process in it, which ends when its standard input does.
pub(crate) struct Space {
    holder: Child,
}

/// How a broker is cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// From everybody, both ways.
    Off,
    /// It hears everybody and is heard by nobody.
    Mute,
    /// Everybody hears it and it hears nobody.
    Deaf,
    /// From the other brokers, both ways.
    Apart,
    /// It hears the other brokers, and they do not hear it.
    MuteToBrokers,
    /// The other brokers hear it, and it does not hear them.
    DeafToBrokers,
}

/// What to do with a cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Act {
    Make,
    Mend,
}

impl Network {
    /// Makes it, in a namespace of our own.
    pub(crate) fn apart() -> Result<Network, Failure> {
        must(&["ip", "link", "set", "lo", "up"])?;
        must(&["ip", "link", "add", BRIDGE, "type", "bridge"])?;
        must(&["ip", "address", "add", "10.78.0.254/24", "dev", BRIDGE])?;
        must(&["ip", "link", "set", BRIDGE, "up"])?;
        let spaces = (0..BROKERS).map(Space::make).collect::<Result<_, _>>()?;
        Ok(Network::Apart(spaces))
    }

    /// Whether brokers can be cut off here.
    pub(crate) fn can_cut(&self) -> bool {
        matches!(self, Network::Apart(_))
    }

    /// Where the broker at `place` is.
    pub(crate) fn address(&self, place: usize) -> IpAddr {
        let last = u8::try_from(place + 1).expect("there are three");
        match self {
            Network::Apart(_) => Ipv4Addr::new(10, 78, 0, last).into(),
            Network::Loopback => Ipv4Addr::new(127, 78, 0, last).into(),
        }
    }

    /// Where the broker at `place` serves clients.
    pub(crate) fn client_address(&self, place: usize) -> SocketAddr {
        SocketAddr::new(self.address(place), CLIENT_PORT)
    }

    /// A program at `place`. It ends with the thread that starts it.
    pub(crate) fn command(&self, place: usize, program: &Path) -> Command {
        let mut command = match self {
            Network::Apart(spaces) => {
                let mut command = Command::new("nsenter");
                let pid = spaces[place].holder.id().to_string();
                command.args(["--net", "--target", &pid, "setpriv"]);
                command
            }
            Network::Loopback => Command::new("setpriv"),
        };
        command.args(["--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// Cuts the broker at `place` off.
    pub(crate) fn cut(&self, place: usize, cut: Cut) -> Result<(), Failure> {
        self.act(place, cut, Act::Make)
    }

    /// Undoes [`cut`](Network::cut).
    pub(crate) fn mend(&self, place: usize, cut: Cut) -> Result<(), Failure> {
        self.act(place, cut, Act::Mend)
    }

    fn act(&self, place: usize, cut: Cut, act: Act) -> Result<(), Failure> {
        let Network::Apart(spaces) = self else {
            return Err(Failure("nobody can be cut off on loopback".to_owned()));
        };
        let outside = outside(place);
        let verb = if act == Act::Make { "add" } else { "del" };
        match cut {
            Cut::Off => {
                let state = if act == Act::Make { "down" } else { "up" };
                must(&["ip", "link", "set", &outside, state])
            }
            Cut::Mute => {
                let words = ["tc", "qdisc", verb, "dev", INSIDE, "root", "blackhole"];
                spaces[place].must(&words)
            }
            Cut::Deaf => must(&["tc", "qdisc", verb, "dev", &outside, "root", "blackhole"]),
            Cut::Apart => {
                self.act_among_brokers(spaces, place, Cut::MuteToBrokers, act)?;
                self.act_among_brokers(spaces, place, Cut::DeafToBrokers, act)
            }
            Cut::MuteToBrokers | Cut::DeafToBrokers => {
                self.act_among_brokers(spaces, place, cut, act)
            }
        }
    }

    fn act_among_brokers(
        &self,
        spaces: &[Space],
        place: usize,
        cut: Cut,
        act: Act,
    ) -> Result<(), Failure> {
        for other in (0..BROKERS).filter(|other| *other != place) {
            let (from, to) =
                if cut == Cut::DeafToBrokers { (other, place) } else { (place, other) };
            let to = self.address(to).to_string();
            match act {
                Act::Make => {
                    let words = ["ip", "neighbour", "replace", &to, "lladdr", NOBODY];
                    spaces[from]
                        .must(&[&words[..], &["nud", "permanent", "dev", INSIDE]].concat())?;
                }
                Act::Mend => spaces[from].must(&["ip", "neighbour", "del", &to, "dev", INSIDE])?,
            }
        }
        Ok(())
    }
}

/// A broker's link, seen from the bridge.
fn outside(place: usize) -> String {
    format!("bfaults{}", place + 1)
}

impl Space {
    fn make(place: usize) -> Result<Space, Failure> {
        let mut command = Command::new("unshare");
        // `cat` says that it is there, and ends when nobody can speak to it any more.
        command.args(["--net", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(context("start unshare"))?;
        let input = holder.stdin.as_mut().expect("it was asked for");
        let output = holder.stdout.as_mut().expect("it was asked for");
        let greeted = input.write_all(b".").and_then(|()| output.read_exact(&mut [0]));
        let space = Space { holder };
        greeted.map_err(context("enter a new namespace"))?;
        let (outside, pid) = (outside(place), space.holder.id().to_string());
        let pair = ["ip", "link", "add", &outside, "type", "veth", "peer", "name", INSIDE];
        must(&[&pair[..], &["netns", &pid]].concat())?;
        must(&["ip", "link", "set", &outside, "master", BRIDGE, "up"])?;
        let address = format!("10.78.0.{}/24", place + 1);
        space.must(&["ip", "address", "add", &address, "dev", INSIDE])?;
        space.must(&["ip", "link", "set", INSIDE, "up"])?;
        space.must(&["ip", "link", "set", "lo", "up"])?;
        Ok(space)
    }

    fn must(&self, words: &[&str]) -> Result<(), Failure> {
        let pid = self.holder.id().to_string();
        must(&[&["nsenter", "--net", "--target", &pid], words].concat())
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
