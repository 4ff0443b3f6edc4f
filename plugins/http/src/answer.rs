//! What an answer means: done, later, or never.

use std::time::Duration;

use brooklet::Error;
use brooklet::http::{self, Response};

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// 2xx, or 304.
    Done(Response),
    /// It may succeed later, after as long as the endpoint says.
    Later(String, Option<Duration>),
    /// This request will never succeed, another may.
    Refused(u16),
}

/// An endpoint that asks for longer is asked again all the same, to see whether it means it.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);

/// Sorts answers. The error is for what no request will change.
pub(crate) fn judge(answer: Result<Response, http::Error>) -> Result<Outcome, Error> {
    let response = match answer {
        Ok(response) => response,
        Err(http::Error::Connection(problem)) => return Ok(Outcome::Later(problem, None)),
        Err(error @ (http::Error::Denied(_) | http::Error::Invalid(_) | http::Error::TooLong)) => {
            return Err(error.into());
        }
    };
    Ok(match response.status {
        200..=299 | 304 => Outcome::Done(response),
        // Timeout, Too Early, Too Many Requests, and whatever is the server's own trouble.
        status @ (408 | 425 | 429 | 500..=599) => {
            let after = response.header("retry-after").and_then(|text| text.trim().parse().ok());
            let after = after.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX));
            Outcome::Later(format!("answered {status}"), after)
        }
        401 | 403 => {
            return Err(Error::Denied(format!("answered {}: check the secret", response.status)));
        }
        status => Outcome::Refused(status),
    })
}
