//! Authenticating again: before a session ends, after it, as somebody else.

use std::time::Duration;

use expect_test::expect;

use super::{check, settings};

#[test]
fn a_session_is_proved_again_before_it_ends() {
    check(
        settings(Some(Duration::from_secs(10))),
        "handshake 1 SCRAM-SHA-256
         scram ada pencil
         prove
         after 9000
         other
         handshake 1 SCRAM-SHA-256
         scram ada pencil
         prove
         after 9000
         other
         after 1001
         other",
        expect![[r#"
            handshake 1 SCRAM-SHA-256
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            scram ada pencil
                → authenticate NONE "" 92 bytes, 0 ms
            prove
                → authenticate NONE "" 46 bytes, 10000 ms
                → User:ada by SCRAM-SHA-256 until 11000
            after 9000
            other
                → admit
            handshake 1 SCRAM-SHA-256
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            scram ada pencil
                → authenticate NONE "" 92 bytes, 0 ms
            prove
                → authenticate NONE "" 46 bytes, 10000 ms
                → User:ada by SCRAM-SHA-256 until 20000
            after 9000
            other
                → admit
            after 1001
            other
                → close: the session of User:ada is over
        "#]],
    );
}

#[test]
fn a_session_that_is_over_can_still_be_proved_again() {
    check(
        settings(Some(Duration::from_secs(10))),
        "handshake 1 PLAIN
         plain ada pencil
         after 60000
         handshake 1 PLAIN
         plain ada pencil",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 11000
            after 60000
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 71000
        "#]],
    );
}

#[test]
fn proving_again_as_somebody_else_or_by_other_means() {
    check(
        settings(Some(Duration::from_secs(10))),
        "handshake 1 PLAIN
         plain ada pencil
         after 2000
         handshake 1 PLAIN
         plain bob pencil",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 11000
            after 2000
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain bob pencil
                → authenticate SASL_AUTHENTICATION_FAILED "Cannot change principals during re-authentication from User.ada: User.bob" 0 bytes, 0 ms
                → close: the client authenticates again as User:bob, and was User:ada
        "#]],
    );
    check(
        settings(Some(Duration::from_secs(10))),
        "handshake 1 PLAIN
         plain ada pencil
         after 2000
         handshake 1 SCRAM-SHA-256
         scram ada pencil",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 11000
            after 2000
            handshake 1 SCRAM-SHA-256
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            scram ada pencil
                → close: the client authenticates again by SCRAM-SHA-256, and was authenticated by PLAIN
        "#]],
    );
    check(
        settings(Some(Duration::from_secs(10))),
        "handshake 1 PLAIN
         plain ada pencil
         after 2000
         handshake 1 PLAIN
         plain ada pen",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 11000
            after 2000
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pen
                → authenticate SASL_AUTHENTICATION_FAILED "Authentication failed: Invalid username or password" 0 bytes, 0 ms
                → close: authentication by PLAIN failed: Authentication failed: Invalid username or password
        "#]],
    );
}

#[test]
fn nothing_else_is_admitted_while_a_session_is_proved_again() {
    check(
        settings(Some(Duration::from_secs(10))),
        "handshake 1 PLAIN
         plain ada pencil
         after 2000
         handshake 1 PLAIN
         other",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 11000
            after 2000
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            other
                → error ILLEGAL_SASL_STATE
                → close: a request that has no place before authentication
        "#]],
    );
}

#[test]
fn what_was_proved_is_not_proved_again_without_need() {
    check(
        settings(None),
        "handshake 1 PLAIN
         plain ada pencil
         after 2000
         handshake 1 PLAIN
         token x
         other",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 0 ms
                → User:ada by PLAIN until ever
            after 2000
            handshake 1 PLAIN
                → handshake ILLEGAL_SASL_STATE []
            token x
                → authenticate ILLEGAL_SASL_STATE "SaslAuthenticate request received after successful authentication" 0 bytes, 0 ms
            other
                → admit
        "#]],
    );
    check(
        settings(Some(Duration::from_secs(10))),
        "handshake 1 PLAIN
         plain ada pencil
         handshake 1 PLAIN
         plain ada pencil
         after 999
         handshake 1 PLAIN
         other",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 11000
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 10000 ms
                → User:ada by PLAIN until 11000
            after 999
            handshake 1 PLAIN
                → handshake ILLEGAL_SASL_STATE []
            other
                → admit
        "#]],
    );
}
