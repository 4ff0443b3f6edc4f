//! HTTP as a source, which polls, and as a sink, which posts.
//!
//! The host sends the requests, to the hosts that were granted and to no others.

mod answer;
mod request;
mod sink;
mod source;

pub use sink::HttpSink;
pub use source::HttpSource;

brooklet::plugin! {
    name: "http",
    description: "Polls a URL for records; posts records to a URL, with retries and an idempotency key.",
    roles: { source: HttpSource, sink: HttpSink },
    wants: {
        "hosts": [{ "name": "*", "why": "the endpoint in `url`" }],
        "secrets": [{ "name": "*", "why": "the one that `secret` names, sent in a header" }]
    },
    config: {
        "type": "object",
        "required": ["url"],
        "additionalProperties": false,
        "properties": {
            "url": { "type": "string", "pattern": "^https?://", "description": "Where to get or to post" },
            "headers": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Sent with each request"
            },
            "secret": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": false,
                "properties": {
                    "name": { "type": "string", "description": "The secret" },
                    "header": { "type": "string", "default": "authorization" },
                    "prefix": { "type": "string", "default": "Bearer " }
                },
                "description": "A secret that is sent in a header"
            },
            "timeout": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "default": "30s",
                "description": "How long to wait for an answer"
            },
            "interval": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "default": "30s",
                "description": "Source: time between two polls"
            },
            "format": {
                "enum": ["body", "lines", "json"],
                "default": "body",
                "description": "Source: the body is a record, each line of it, or each item of a JSON array"
            },
            "items": {
                "type": "string",
                "description": "Source, json: dotted path to the array; without it the body is the array"
            },
            "key": { "type": "string", "description": "Source, json: dotted path of the key in an item" },
            "cursor": {
                "type": "object",
                "required": ["field", "parameter"],
                "additionalProperties": false,
                "properties": {
                    "field": { "type": "string", "description": "Dotted path in the body to where to go on" },
                    "parameter": { "type": "string", "description": "The query's parameter that it is sent in" }
                },
                "description": "Source, json: how to ask for what comes next"
            },
            "method": { "enum": ["POST", "PUT", "PATCH"], "default": "POST", "description": "Sink" },
            "batch": {
                "type": "boolean",
                "default": false,
                "description": "Sink: a JSON array of the values of a batch, instead of a request per record"
            },
            "content_type": { "type": "string", "default": "application/json", "description": "Sink" },
            "retries": {
                "type": "integer",
                "minimum": 0,
                "maximum": 100,
                "default": 5,
                "description": "Sink: before the host is asked to wait"
            },
            "backoff": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "default": "200ms",
                "description": "Sink: before the first retry, doubled before each further one"
            }
        }
    },
}
