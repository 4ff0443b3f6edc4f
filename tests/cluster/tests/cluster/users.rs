//! Users from the command line, on a broker that asks everybody who they are.

use std::path::Path;

use brooklet_cluster::Broker;
use serde_json::json;

use super::command::Cli;
use super::stage;

fn password(folder: &Path, name: &str, content: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path.display().to_string()
}

#[test]
fn the_first_user_makes_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let admin = password(folder.path(), "admin.password", "pencil\n");
    let tower = password(folder.path(), "tower.password", "rubber");
    let config = format!("(access: (first_users: {{ \"admin\": {admin:?} }}))");
    let broker = Broker::builder()
        .config(&config)
        .argument("--sasl")
        .argument("PLAIN,SCRAM-SHA-512")
        .start();
    let cli = Cli::without_broker();
    let address = broker.address().to_string();
    let login = |user: &'static str, file: &str| {
        ["-b", &address, "--sasl-user", user, "--sasl-password-file", file].map(str::to_owned)
    };
    let run = |code: i32, login: &[String], arguments: &[&str]| {
        let all: Vec<&str> =
            login.iter().map(String::as_str).chain(arguments.iter().copied()).collect();
        cli.ends(code, &all)
    };
    let admin = login("admin", &admin);
    let said = run(0, &admin, &["user", "create", "tower", "--password-file", &tower]);
    assert_eq!(said.stdout, "tower created\n");
    let said = run(0, &admin, &["user", "list"]);
    assert_eq!(
        said.stdout,
        "admin SCRAM-SHA-256 SCRAM-SHA-512\ntower SCRAM-SHA-256 SCRAM-SHA-512\n"
    );
    for mechanism in ["plain", "scram-sha-512"] {
        let tower =
            [&login("tower", &tower)[..], &["--sasl-mechanism".into(), mechanism.into()]].concat();
        run(0, &tower, &["topic", "create", mechanism]);
    }
    // Somebody else's password, nobody's name, a mechanism that is not there.
    let said = run(1, &login("admin", &tower), &["topic", "list"]);
    assert!(said.stderr.contains("invalid credentials"), "{}", said.stderr);
    assert!(said.stderr.contains("--sasl-password-file"), "{}", said.stderr);
    run(1, &login("nobody", &tower), &["topic", "list"]);
    let other = [&admin[..], &["--sasl-mechanism".into(), "SCRAM-SHA-256".into()]].concat();
    let said = run(1, &other, &["topic", "list"]);
    assert!(said.stderr.contains("offers [PLAIN, SCRAM-SHA-512]"), "{}", said.stderr);
    // Half of a login, and no password at all.
    run(2, &[], &["--sasl-user", "admin", "topic", "list"]);
    run(2, &admin, &["user", "create", "ship"]);
    run(0, &admin, &["user", "delete", "tower"]);
    run(1, &login("tower", &tower), &["topic", "list"]);
    run(3, &admin, &["user", "delete", "tower"]);
    assert!(broker.stop().success());
}

/// Connectors are the broker's own: no listener has to let them in.
#[test]
fn connectors_work_where_everybody_else_has_to_say_who_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let admin_password = password(folder.path(), "admin.password", "pencil");
    let users = format!(
        "(admin: \"127.0.0.1:0\", access: (first_users: {{ \"admin\": {admin_password:?} }}))"
    );
    let broker =
        Broker::builder().config(&users).argument("--sasl").argument("SCRAM-SHA-512").start();
    let (address, admin) = (broker.address().to_string(), stage::admin(&broker));
    let maker = json!({ "name": "maker", "config": {
        "connector.class": "generator", "topic": "made", "count": 10, "fields": {"id": {"sequence": {}}}
    }});
    let maker = password(folder.path(), "maker.json", &maker.to_string());
    let cli = Cli::without_broker();
    let login = ["--sasl-user", "admin", "--sasl-password-file", &admin_password];
    cli.run(&[&login[..], &["-b", &address, "topic", "create", "made"]].concat());
    let create = ["connector", "--admin", &admin, "create", &maker];
    let refused = cli.ends(1, &create);
    assert!(refused.stderr.contains("--admin-token"), "{}", refused.stderr);
    let data = broker.data().display().to_string();
    cli.run(&[&create[..], &["--data", &data]].concat());
    let reader = ["-b", &address, "consume", "made", "--count", "10", "--from", "earliest"];
    stage::soon("nothing is made", || {
        let read = cli.run(&[&login[..], &reader].concat());
        (read.stdout.lines().count() == 10).then_some(())
    });
    assert!(broker.stop().success());
}

#[test]
fn a_broker_does_not_let_everybody_in_by_accident() {
    let cli = Cli::without_broker();
    let said = cli.ends(2, &["serve", "--listen", "tcp://0.0.0.0:0"]);
    assert!(said.stderr.contains("lets everybody in who can reach it"), "{}", said.stderr);
    assert!(said.stderr.contains("--public-unauthenticated"), "{}", said.stderr);
    let said = cli.ends(2, &["serve", "--listen", "tcp://0.0.0.0:0", "--sasl", "PLAIN"]);
    assert!(said.stderr.contains("speaks SASL in the clear"), "{}", said.stderr);
    let said = cli.ends(2, &["serve", "--listen", "tcp://127.0.0.1:0", "--sasl", "GSSAPI"]);
    assert!(
        said.stderr.contains("there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"),
        "{}",
        said.stderr
    );
}
