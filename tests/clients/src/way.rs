//! The ways to a broker, and what clients have to be told to take one.
//!
//! A [`Target`] is a broker that runs already and speaks plain TCP, or one of our own at the end of a way: then its
//! certificates, its user and its data are in a folder that goes with it. Clients find what they need in the
//! environment:
//!
//! | variable | what | for |
//! |---|---|---|
//! | `BROOKLET_WAY` | the way's name | whoever starts a broker himself |
//! | `BROOKLET_CONFIG` | what such a broker is configured with | the same |
//! | `BROOKLET_LIBRDKAFKA` | a file of librdkafka's properties | what is built on it |
//! | `BROOKLET_JAVA` | a file of Java's properties | Kafka's own clients and tools |
//! | `BROOKLET_TLS_CA`, `_CERT`, `_KEY` | files in PEM | everybody else, our own program too |
//! | `BROOKLET_SASL_USER`, `_PASSWORD_FILE`, `_MECHANISM` | who they are | the same |
//!
//! Nothing is set where a client needs to know nothing: over TCP, and before the tunnel.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run;

/// How clients reach a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Plain TCP.
    Tcp,
    /// TLS, with a certificate on both sides.
    Tls,
    /// SCRAM-SHA-512 over TLS, where clients have no certificate.
    Sasl,
    /// Plain TCP to `brooklet tunnel`, which takes it to the broker over QUIC.
    Tunnel,
}

/// A broker, and how to reach it.
#[derive(Debug)]
pub struct Target {
    /// The way to it.
    pub way: Way,
    /// Where clients connect first.
    pub broker: String,
    /// What they find in their environment.
    pub environment: Vec<(&'static str, OsString)>,
    /// librdkafka's properties beside the address, a line each.
    pub librdkafka: String,
    /// Only held: it ends with the target.
    _own: Option<Own>,
}

/// What was started for a target.
#[derive(Debug)]
struct Own {
    folder: PathBuf,
    processes: Vec<Child>,
}

/// What every broker of ours is told: librdkafka's suite expects topics that are made by asking for them to have
/// four partitions.
const CONFIG: &str = r#"admin: "none", default_partitions: 4"#;

/// Who comes in over SASL.
const USER: &str = "admin";
const PASSWORD: &str = "pencil";
const MECHANISM: &str = "SCRAM-SHA-512";

/// What our broker offers: a scenario whose client has only the second says so.
const MECHANISMS: &str = "SCRAM-SHA-512,PLAIN";

/// From the start of a process to its `ready` line, on a machine that is busy with something else.
const READY_MAX: Duration = Duration::from_secs(30);

impl Way {
    /// Every way there is.
    pub const ALL: [Way; 4] = [Way::Tcp, Way::Tls, Way::Sasl, Way::Tunnel];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Way::Tcp => "tcp",
            Way::Tls => "tls",
            Way::Sasl => "sasl",
            Way::Tunnel => "tunnel",
        }
    }

    /// The way of that name.
    pub fn named(name: &str) -> Result<Way, String> {
        let known = Way::ALL.into_iter().find(|way| way.name() == name);
        known.ok_or_else(|| {
            format!("--over {name}: there are {}", Way::ALL.map(Way::name).join(", "))
        })
    }

    /// The scheme that a broker at its end listens with.
    fn scheme(self) -> &'static str {
        match self {
            Way::Tcp => "tcp",
            Way::Tls | Way::Sasl => "tls",
            Way::Tunnel => "quic",
        }
    }
}

impl Target {
    /// A broker that runs already, at `broker`.
    pub fn running(broker: String) -> Target {
        let (environment, librdkafka) = (Vec::new(), String::new());
        Target { way: Way::Tcp, broker, environment, librdkafka, _own: None }
    }

    /// Starts a broker, and what leads to it. An error says what did not work.
    pub fn start(way: Way, program: &Path) -> Result<Target, String> {
        let name = format!("brooklet-{}-{}", way.name(), std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        // Whatever fails below, the folder and all that was started go with this.
        let mut own = Own { folder, processes: Vec::new() };
        let told = Told::write(way, program, &own.folder)?;
        let mut serve = vec!["serve".into(), "--config".into(), told.config.into_os_string()];
        serve.extend(["--data".into(), own.folder.join("data").into_os_string()]);
        serve.extend(["--listen".into(), format!("{}://127.0.0.1:0", way.scheme()).into()]);
        if way == Way::Sasl {
            serve.extend(["--sasl".into(), MECHANISMS.into()]);
        }
        let mut address = own.start("broker", program, &serve)?;
        if way == Way::Tunnel {
            let tunnel =
                ["tunnel", "--listen", "127.0.0.1:0", "--to", &address].map(OsString::from);
            address = own.start("tunnel", program, &tunnel)?;
        }
        let broker = address.split("://").last().unwrap_or_default().to_owned();
        let Told { environment, librdkafka, .. } = told;
        Ok(Target { way, broker, environment, librdkafka, _own: Some(own) })
    }
}

impl Own {
    /// Starts the program and waits for the first address in its `ready` line.
    fn start(
        &mut self,
        name: &str,
        program: &Path,
        arguments: &[OsString],
    ) -> Result<String, String> {
        let (ready, log) =
            (self.folder.join(format!("{name}.ready")), self.folder.join(format!("{name}.log")));
        let created = |path| fs::File::create(path).map_err(|error| format!("{name}: {error}"));
        // It ends with this process, also where that is killed and drops nothing.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(created(&ready)?)
            .stderr(created(&log)?)
            .spawn()
            .map_err(|error| format!("setpriv, of util-linux: {error}"))?;
        self.processes.push(child);
        let child = self.processes.last_mut().expect("just pushed");
        let began = Instant::now();
        while began.elapsed() < READY_MAX && matches!(child.try_wait(), Ok(None)) {
            let said = fs::read_to_string(&ready).unwrap_or_default();
            if let Some(line) = said.strip_suffix('\n') {
                let address = line.split(' ').nth(1).unwrap_or_default();
                return Ok(address.to_owned());
            }
            std::thread::sleep(Duration::from_millis(20)); // polls a foreign process
        }
        let said = fs::read_to_string(&log).unwrap_or_default();
        Err(format!("the {name} is not ready: {said}"))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        for child in self.processes.iter_mut().rev() {
            // It may have ended by itself; nothing of it is needed any more.
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// What a broker and its clients are told, as files in a folder.
struct Told {
    config: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    librdkafka: String,
}

impl Told {
    fn write(way: Way, program: &Path, folder: &Path) -> Result<Told, String> {
        let secure = match way {
            Way::Tcp | Way::Tunnel => None,
            Way::Tls => Some(Secure::with_certificate(program, folder)?),
            Way::Sasl => Some(Secure::with_password(program, folder)?),
        };
        let config = folder.join("broker.ron");
        let more = secure.as_ref().map_or("", |secure| &secure.config);
        write(&config, &format!("({CONFIG}{more})"))?;
        let mut environment = vec![
            ("BROOKLET_WAY", way.name().into()),
            ("BROOKLET_CONFIG", config.clone().into_os_string()),
        ];
        let librdkafka =
            secure.as_ref().map_or_else(String::new, |secure| secure.librdkafka.clone());
        if let Some(secure) = secure {
            let (java, properties) =
                (folder.join("java.properties"), folder.join("librdkafka.properties"));
            write(&java, &secure.java)?;
            write(&properties, &secure.librdkafka)?;
            environment.extend(secure.environment);
            environment.extend([
                ("BROOKLET_JAVA", java.into_os_string()),
                ("BROOKLET_LIBRDKAFKA", properties.into_os_string()),
            ]);
        }
        Ok(Told { config, environment, librdkafka })
    }
}

/// What both sides of TLS are told.
struct Secure {
    /// The broker's configuration, from a comma on.
    config: String,
    environment: Vec<(&'static str, OsString)>,
    librdkafka: String,
    java: String,
}

impl Secure {
    /// A broker that lets in who has a certificate of its authority.
    fn with_certificate(program: &Path, folder: &Path) -> Result<Secure, String> {
        let mut secure = Secure::new("SSL", program, folder)?;
        cert(program, folder, &["client", USER])?;
        let [ca, certificate, key] = ["ca.pem", "admin.pem", "admin.key"]
            .map(|name| folder.join(name).display().to_string());
        secure.config = format!("{}, client_ca: {ca:?}, client_auth: \"required\")", secure.config);
        // Java wants both in one file.
        let both = folder.join("both.pem");
        write(&both, &(read(Path::new(&key))? + &read(Path::new(&certificate))?))?;
        secure.java +=
            &format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", both.display());
        secure.librdkafka +=
            &format!("ssl.certificate.location={certificate}\nssl.key.location={key}\n");
        secure.environment.push(("BROOKLET_TLS_CERT", certificate.into()));
        secure.environment.push(("BROOKLET_TLS_KEY", key.into()));
        Ok(secure)
    }

    /// A broker that asks for a user's password.
    fn with_password(program: &Path, folder: &Path) -> Result<Secure, String> {
        let mut secure = Secure::new("SASL_SSL", program, folder)?;
        let password = folder.join("password");
        write(&password, PASSWORD)?;
        let file = password.display().to_string();
        secure.config =
            format!("{}), access: (first_users: {{ {USER:?}: {file:?} }})", secure.config);
        secure.java += &format!(
            "sasl.mechanism={MECHANISM}\nsasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule \
             required username=\"{USER}\" password=\"{PASSWORD}\";\n"
        );
        secure.librdkafka += &format!(
            "sasl.mechanism={MECHANISM}\nsasl.username={USER}\nsasl.password={PASSWORD}\n"
        );
        secure.environment.extend([
            ("BROOKLET_SASL_USER", USER.into()),
            ("BROOKLET_SASL_PASSWORD_FILE", password.into_os_string()),
            ("BROOKLET_SASL_MECHANISM", MECHANISM.into()),
        ]);
        Ok(secure)
    }

    /// What is the same for both; the configuration's `tls` is left open.
    fn new(protocol: &str, program: &Path, folder: &Path) -> Result<Secure, String> {
        cert(program, folder, &["ca"])?;
        cert(program, folder, &["server", "127.0.0.1"])?;
        let [ca, certificate, key] = ["ca.pem", "server.pem", "server.key"]
            .map(|name| folder.join(name).display().to_string());
        Ok(Secure {
            config: format!(", tls: (certificate: {certificate:?}, key: {key:?}"),
            librdkafka: format!("security.protocol={protocol}\nssl.ca.location={ca}\n"),
            java: format!(
                "security.protocol={protocol}\nssl.truststore.type=PEM\nssl.truststore.location={ca}\n"
            ),
            environment: vec![("BROOKLET_TLS_CA", ca.into())],
        })
    }
}

fn cert(program: &Path, folder: &Path, arguments: &[&str]) -> Result<(), String> {
    run(Command::new(program).arg("cert").args(arguments).arg("--folder").arg(folder))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}

fn read(path: &Path) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_found_by_its_name_and_nothing_else_is() {
        for way in Way::ALL {
            assert_eq!(Way::named(way.name()), Ok(way));
        }
        assert_eq!(
            Way::named("udp"),
            Err("--over udp: there are tcp, tls, sasl, tunnel".to_owned())
        );
    }

    #[test]
    fn what_was_started_does_not_outlive_its_target() {
        let folder = std::env::temp_dir().join(format!("brooklet-way-test-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut own = Own { folder: folder.clone(), processes: Vec::new() };
        let script =
            ["-c", "echo ready tcp://127.0.0.1:1 node=1; exec sleep 60"].map(OsString::from);
        assert_eq!(own.start("test", Path::new("sh"), &script), Ok("tcp://127.0.0.1:1".to_owned()));
        let pid = own.processes[0].id().to_string();
        let lives = || Path::new("/proc").join(&pid).exists();
        assert!(lives());
        drop(own);
        assert!(!lives() && !folder.exists());
    }

    #[test]
    fn what_ends_before_it_is_ready_is_reported_with_its_log() {
        let folder = std::env::temp_dir().join(format!("brooklet-way-ends-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut own = Own { folder, processes: Vec::new() };
        let script = ["-c", "echo no such port >&2; exit 1"].map(OsString::from);
        let said = own.start("broker", Path::new("sh"), &script);
        assert_eq!(said, Err("the broker is not ready: no such port\n".to_owned()));
    }
}
