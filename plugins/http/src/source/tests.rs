//! Pages, cursors, entity tags, and endpoints in trouble.

use std::cell::RefCell;
use std::rc::Rc;

use brooklet::http::{self, Request};
use brooklet::stand_in;
use brooklet_testing::Sourcing;

use super::*;

fn endpoint(mut answer: impl FnMut(&Request) -> Response + 'static) -> Rc<RefCell<Vec<Request>>> {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let log = Rc::clone(&asked);
    stand_in::answer_http(move |request| {
        log.borrow_mut().push(request.clone());
        Ok(answer(request))
    });
    asked
}

fn start(rest: &str, position: Option<&[u8]>) -> Sourcing<HttpSource> {
    let config = format!(r#"{{"url":"http://a.example/v1?x=1","interval":"10s"{rest}}}"#);
    Sourcing::start(&config, position).unwrap()
}

fn header<'r>(request: &'r Request, name: &str) -> Option<&'r str> {
    request.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
}

#[test]
fn what_has_not_changed_is_not_read_again() {
    let asked = endpoint(|request| match header(request, "if-none-match") {
        Some("\"1\"") => Response::new(304, ""),
        _ => Response::new(200, "first").with_header("ETag", "\"1\""),
    });
    let mut source = start("", None);
    let polled = source.poll().unwrap();
    assert_eq!((polled.records[0].text(), polled.more), ("first", false));
    let before = task::now();
    while asked.borrow().len() < 2 {
        assert!(source.poll().unwrap().records.is_empty());
    }
    assert_eq!(task::now() - before, Duration::from_secs(10), "not before the interval is over");
    // Nor by an instance that was not there.
    assert!(start("", Some(&polled.position)).poll().unwrap().records.is_empty());
}

#[test]
fn items_have_keys_and_come_in_pieces() {
    let body = r#"{"data":{"items":[{"id":"a","n":1},{"id":7},{"n":3}]}}"#;
    endpoint(move |_| Response::new(200, body).with_header("ETag", "\"1\""));
    let rest = r#","format":"json","items":"data.items","key":"id""#;
    let mut source = start(rest, None).records_max(2);
    let first = source.poll().unwrap();
    let keys: Vec<_> = first.records.iter().map(|record| record.key.clone()).collect();
    assert_eq!(keys, [Some(b"a".to_vec()), Some(b"7".to_vec())]);
    assert!(first.more);
    let second = source.poll().unwrap();
    assert_eq!((second.records[0].text(), second.more), (r#"{"n":3}"#, false));
    // Begun and left: the rest of the same answer, and no more.
    let mut restarted = start(rest, Some(&first.position));
    let polled = restarted.poll().unwrap();
    assert_eq!(polled.records, second.records);
    assert_eq!(polled.position, second.position);
    // Of another answer, everything.
    endpoint(move |_| Response::new(200, body).with_header("ETag", "\"2\""));
    assert_eq!(start(rest, Some(&first.position)).poll().unwrap().records.len(), 3);
}

#[test]
fn a_cursor_is_followed_without_waiting() {
    let asked = endpoint(|request| {
        let page = match request.url.rsplit_once("after=") {
            None => r#"{"items":[1,2],"next":"p/2"}"#,
            Some((_, "p%2F2")) => r#"{"items":[3],"next":"3"}"#,
            Some((_, "3")) => r#"{"items":[],"next":"3"}"#,
            Some((_, other)) => panic!("{other}"),
        };
        Response::new(200, page)
    });
    let rest = r#","format":"json","items":"items","cursor":{"field":"next","parameter":"after"}"#;
    let mut source = start(rest, None);
    let before = task::now();
    assert_eq!(source.texts().unwrap(), ["1", "2", "3"]);
    assert_eq!(task::now(), before);
    let urls: Vec<String> = asked.borrow().iter().map(|request| request.url.clone()).collect();
    assert_eq!(urls[1], "http://a.example/v1?x=1&after=p%2F2");
    let position = source.poll().unwrap().position;
    asked.borrow_mut().clear();
    start(rest, Some(&position)).poll().unwrap();
    assert_eq!(asked.borrow()[0].url, "http://a.example/v1?x=1&after=3");
}

#[test]
fn lines_are_records() {
    endpoint(|_| Response::new(200, "a\r\n\nb"));
    assert_eq!(start(r#","format":"lines""#, None).texts().unwrap(), ["a", "b"]);
}

#[test]
fn trouble_is_for_the_host_to_pace() {
    let answers = [
        (Response::new(503, "").with_header("retry-after", "9"), "answered 503", 9),
        (Response::new(200, "<html>"), "not what was expected", 0),
        (Response::new(200, r#"{"items":{}}"#), "no array", 0),
    ];
    for (answer, problem, seconds) in answers {
        endpoint(move |_| answer.clone());
        let error = start(r#","format":"json","items":"items""#, None).poll().unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
        let expected = Duration::from_secs(seconds);
        assert!(matches!(error, Error::Retriable { after, .. } if after == expected), "{error:?}");
    }
    endpoint(|_| Response::new(404, ""));
    assert!(matches!(start("", None).poll(), Err(Error::Config(_))));
    stand_in::answer_http(|_| Err(http::Error::Connection("reset".to_owned())));
    assert!(matches!(start("", None).poll(), Err(Error::Retriable { .. })));
}

#[test]
fn configurations_are_checked() {
    for rest in [r#","key":"a""#, r#","format":"json","key":"a..b""#, r#","interval":"soon""#] {
        let config = format!(r#"{{"url":"http://a.example/"{rest}}}"#);
        assert!(Sourcing::<HttpSource>::start(&config, None).is_err(), "{rest}");
    }
}
