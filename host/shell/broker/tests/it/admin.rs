//! Administration over HTTP: for who has the token, and for no page in a browser.

use axum::Router;
use axum::routing::{get, post};
use brooklet_broker::{Extensions, run_extended};

use super::*;

/// A broker that serves something beside probes and metrics.
async fn start_administrated(folder: &std::path::Path) -> Running {
    let folder = folder.display().to_string();
    let text =
        format!("(data: {folder:?}, listeners: [\"tcp://127.0.0.1:0\"], admin: \"127.0.0.1:0\")");
    let config = Config::read("test.ron", &text).unwrap();
    let stop = CancellationToken::new();
    let (tell, ready) = oneshot::channel();
    let stopping = stop.clone();
    let done = tokio::spawn(async move {
        let extend = |_: &Config| {
            let routes = Router::new()
                .route("/things", get(async || "all things\n").post(async || "made\n"))
                .route("/things/{name}", post(async || "changed\n").delete(async || "gone\n"));
            Ok(Extensions { routes, ..Extensions::hooks(Arc::new(NoHooks)) })
        };
        let told = |ready: &Ready| tell.send(ready.clone()).unwrap();
        run_extended(config, extend, stopping, told).await.unwrap();
    });
    Running { ready: ready.await.unwrap(), stop, done }
}

/// What is answered to a request with these lines behind the first.
async fn ask(admin: SocketAddr, request: &str, lines: &[&str]) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!("{request} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(scene::SOON, read).await.expect("it is answered").unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_beside_probes_and_metrics_needs_the_token_of_the_data_folder() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_administrated(folder.path()).await;
    let admin = running.ready.admin.unwrap();
    let token = std::fs::read_to_string(folder.path().join("admin-token")).unwrap();
    let bearer = format!("Authorization: Bearer {}", token.trim_end());
    let host = format!("Host: {admin}");
    for request in ["GET /things", "POST /things", "POST /things/a", "DELETE /things/a"] {
        let length = "Content-Length: 0";
        let served = ask(admin, request, &[&host, &bearer, length]).await;
        assert!(served.starts_with("HTTP/1.1 200"), "{request}: {served}");
        let localhost = ask(admin, request, &["Host: localhost", &bearer, length]).await;
        assert!(localhost.starts_with("HTTP/1.1 200"), "{request}: {localhost}");
        let unknown = ask(admin, request, &[&host, length]).await;
        assert!(unknown.starts_with("HTTP/1.1 401"), "{request}: {unknown}");
        assert!(unknown.contains("admin-token") && unknown.contains("--data"), "{unknown}");
        // Its body is not waited for.
        let large = ask(admin, request, &[&host, "Content-Length: 1000000"]).await;
        assert!(large.starts_with("HTTP/1.1 401"), "{request}: {large}");
        let page = ask(admin, request, &[&host, &bearer, length, "Origin: http://a.example"]).await;
        assert!(page.starts_with("HTTP/1.1 403"), "{request}: {page}");
        let rebound = ask(admin, request, &["Host: a.example:9644", &bearer, length]).await;
        assert!(rebound.starts_with("HTTP/1.1 403"), "{request}: {rebound}");
        let absolute = request.replacen(" /", " http://a.example/", 1);
        let elsewhere = ask(admin, &absolute, &[&host, &bearer, length]).await;
        assert!(elsewhere.starts_with("HTTP/1.1 403"), "{absolute}: {elsewhere}");
    }
    running.stop().await;
    let running = start_administrated(folder.path()).await;
    let admin = running.ready.admin.unwrap();
    let served = ask(admin, "GET /things", &["Host: localhost", &bearer]).await;
    assert!(served.starts_with("HTTP/1.1 200"), "the token stays the same: {served}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_are_for_everybody() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_administrated(folder.path()).await;
    let admin = running.ready.admin.unwrap();
    for path in ["livez", "readyz", "metrics"] {
        let lines = ["Host: edge.example:9644", "Origin: http://a.example"];
        let answer = ask(admin, &format!("GET /{path}"), &lines).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_without_administration_makes_no_token() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!(
        "(data: {:?}, listeners: [\"tcp://127.0.0.1:0\"], admin: \"none\")",
        folder.path().display().to_string()
    );
    let config = Config::read("test.ron", &text).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    run(config, Arc::new(NoHooks), stop, |_| {}).await.unwrap();
    assert!(folder.path().join("sasl-secret").exists());
    assert!(!folder.path().join("admin-token").exists());
}
