//! An endpoint that is fine, slow, busy, away, or not amused.

use std::cell::RefCell;
use std::rc::Rc;

use brooklet::http::{self, Request, Response};
use brooklet::stand_in;
use brooklet_testing::{Rec, Sinking};

use super::*;

type Answer = Result<Response, http::Error>;

/// Answers one after the other, then 200; what it was asked.
fn endpoint(answers: Vec<Answer>) -> Rc<RefCell<Vec<Request>>> {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let (log, mut answers) = (Rc::clone(&asked), answers.into_iter());
    stand_in::answer_http(move |request| {
        log.borrow_mut().push(request.clone());
        answers.next().unwrap_or_else(|| Ok(Response::new(200, "")))
    });
    asked
}

fn status(status: u16) -> Answer {
    Ok(Response::new(status, ""))
}

fn away() -> Answer {
    Err(http::Error::Connection("connection refused".to_owned()))
}

fn start(rest: &str) -> Sinking<HttpSink> {
    Sinking::start(&format!(r#"{{"url":"http://a.example/hook","timeout":"5s"{rest}}}"#)).unwrap()
}

fn keys(asked: &Rc<RefCell<Vec<Request>>>) -> Vec<String> {
    let key = |request: &Request| {
        let found = request.headers.iter().find(|(name, _)| name == "idempotency-key");
        found.unwrap().1.clone()
    };
    asked.borrow().iter().map(key).collect()
}

#[test]
fn each_record_is_a_request_with_its_key() {
    let asked = endpoint(vec![]);
    stand_in::grant_secret("token", b"hush\n");
    let mut sink = start(r#","headers":{"x":"y"},"secret":{"name":"token"}"#);
    assert_eq!(sink.write(&[Rec::value("{}"), Rec::value("[1]")]).unwrap(), []);
    assert_eq!(sink.flush().unwrap(), Some(2));
    assert_eq!(keys(&asked), ["topic-0-0", "topic-0-1"]);
    let first = &asked.borrow()[0];
    assert_eq!((first.method.as_str(), &first.body[..]), ("POST", &b"{}"[..]));
    let has =
        |name: &str, value: &str| first.headers.contains(&(name.to_owned(), value.to_owned()));
    assert!(
        has("x", "y")
            && has("authorization", "Bearer hush")
            && has("content-type", "application/json")
    );
}

#[test]
fn trouble_is_sat_out_in_order() {
    let asked = endpoint(vec![status(503), away(), status(429), status(200), status(500)]);
    let mut sink = start("");
    let begun = task::now();
    assert_eq!(sink.write(&[Rec::value("1"), Rec::value("2")]).unwrap(), []);
    let expected = ["topic-0-0", "topic-0-0", "topic-0-0", "topic-0-0", "topic-0-1", "topic-0-1"];
    assert_eq!(keys(&asked), expected);
    assert_eq!(stand_in::metric("http_retries"), Some(4.0));
    let waited = task::now() - begun;
    // Half to all of 200, 400, 800 and again 200 milliseconds.
    assert!((800..=1604).contains(&waited.as_millis()), "{waited:?}");
}

#[test]
fn an_endpoint_that_says_when_is_believed() {
    let busy = Response::new(429, "").with_header("Retry-After", "7");
    endpoint(vec![Ok(busy)]);
    let begun = task::now();
    start("").write(&[Rec::value("1")]).unwrap();
    assert_eq!(task::now() - begun, Duration::from_secs(7));
    let later = Response::new(503, "").with_header("Retry-After", "120");
    endpoint(vec![Ok(later)]);
    let error = start("").write(&[Rec::value("1")]).unwrap_err();
    let expected = Duration::from_secs(120);
    assert!(matches!(error, Error::Retriable { after, .. } if after == expected), "{error:?}");
}

#[test]
fn when_it_takes_too_long_the_host_waits_and_nothing_accepted_is_sent_twice() {
    let answers = vec![status(200), away(), away(), away()];
    let asked = endpoint(answers);
    let mut sink = start(r#","retries":2"#);
    let records = [Rec::value("1"), Rec::value("2")];
    let error = sink.write(&records).unwrap_err();
    assert_eq!(error, Error::retriable("http://a.example/hook: connection refused"));
    assert_eq!(sink.write(&records).unwrap(), []);
    let expected = ["topic-0-0", "topic-0-1", "topic-0-1", "topic-0-1", "topic-0-1"];
    assert_eq!(keys(&asked), expected);
}

#[test]
fn what_was_refused_before_the_trouble_is_said_when_the_host_comes_again() {
    let mut answers = vec![status(204), status(400)];
    answers.extend((0..6).map(|_| status(503)));
    answers.push(status(204));
    let asked = endpoint(answers);
    let mut sink = start("");
    let records = ["1", "2", "3"].map(Rec::value);
    let error = sink.write(&records).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    assert_eq!(sink.write(&records).unwrap(), [(1, "status".to_owned())]);
    assert_eq!(keys(&asked).len(), 9, "a and b once, c seven times");
}

#[test]
fn a_record_that_is_refused_does_not_stop_the_others() {
    let asked = endpoint(vec![status(422)]);
    let records = [Rec::value("1"), Rec::tombstone("k"), Rec::value("3")];
    let rejects = start("").write(&records).unwrap();
    assert_eq!(rejects, [(0, "status".to_owned()), (1, "null".to_owned())]);
    assert_eq!(keys(&asked), ["topic-0-0", "topic-0-2"]);
}

#[test]
fn what_no_retry_will_change_is_an_error_at_once() {
    endpoint(vec![status(401)]);
    assert!(matches!(start("").write(&[Rec::value("1")]), Err(Error::Denied(_))));
    endpoint(vec![Err(http::Error::Denied("a.example".to_owned()))]);
    assert!(matches!(start("").write(&[Rec::value("1")]), Err(Error::Denied(_))));
    let missing = start(r#","secret":{"name":"nobody-granted-it"}"#).write(&[Rec::value("1")]);
    assert!(matches!(missing, Err(Error::Denied(_))));
}

#[test]
fn a_batch_is_one_array() {
    let asked = endpoint(vec![]);
    let mut sink = start(r#","batch":true,"method":"PUT""#);
    let records =
        [Rec::value(r#"{"a":1}"#), Rec::value("nope"), Rec::tombstone("k"), Rec::value("7")];
    assert_eq!(sink.write(&records).unwrap(), [(1, "syntax".to_owned())]);
    assert_eq!(sink.flush().unwrap(), Some(4));
    let request = &asked.borrow()[0];
    assert_eq!((request.method.as_str(), &request.body[..]), ("PUT", &br#"[{"a":1},null,7]"#[..]));
    assert_eq!(keys(&asked), ["topic-0-0-3"]);
    endpoint(vec![status(413)]);
    let rejects = sink.write(&[Rec::value("1"), Rec::value("2")]).unwrap();
    assert_eq!(rejects, [(0, "status".to_owned()), (1, "status".to_owned())]);
}

#[test]
fn a_task_that_is_to_stop_does_not_wait() {
    let asked = endpoint(vec![away(), away()]);
    stand_in::stop(true);
    assert!(start("").write(&[Rec::value("1")]).is_err());
    assert_eq!(asked.borrow().len(), 1);
}
