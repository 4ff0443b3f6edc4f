//! Files as a source and as a sink.
//!
//! The source follows one file through its rotations, or all files of a directory; the sink appends.
//! Paths are those that the plugin sees: what the operator granted as a directory.

mod format;
mod places;
mod sink;
mod source;

pub use sink::FileSink;
pub use source::FileSource;

brooklet::plugin! {
    name: "file",
    description: "Reads lines, JSON lines or CSV from files as they grow; appends records to files.",
    roles: { source: FileSource, sink: FileSink },
    wants: {
        "directories": [{ "name": "/data", "why": "the files to read or to write" }]
    },
    config: {
        "type": "object",
        "required": ["path"],
        "additionalProperties": false,
        "properties": {
            "path": {
                "type": "string",
                "description": "The file; as a source also a directory, as a sink with {topic} and {partition} in its name",
                "examples": ["/data/flights.csv", "/data/{topic}-{partition}.jsonl"]
            },
            "format": {
                "enum": ["lines", "json-lines", "csv", "records"],
                "default": "lines",
                "description": "Source: lines, json-lines or csv; sink: lines or records"
            },
            "pattern": {
                "type": "string",
                "default": "*",
                "description": "Source, of a directory: names of the files, * stands for anything"
            },
            "key": {
                "type": "string",
                "description": "Source: the column, or the dotted path of the field, that is the key"
            },
            "delimiter": {
                "type": "string",
                "minLength": 1,
                "maxLength": 1,
                "default": ",",
                "description": "Source, CSV: what stands between columns"
            },
            "nulls": {
                "type": "array",
                "items": { "type": "string" },
                "default": [""],
                "description": "Source, CSV: what is written for null"
            },
            "infer": {
                "type": "boolean",
                "default": true,
                "description": "Source, CSV: numbers, true and false become such in JSON"
            },
            "on_invalid": {
                "enum": ["fail", "skip"],
                "default": "fail",
                "description": "Source: what becomes of lines that are not JSON and rows of another width"
            },
            "quiet": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "default": "5s",
                "description": "Source: a last line without an end counts as whole when the file has not grown for so long"
            },
            "record_bytes_max": {
                "type": "integer",
                "minimum": 1,
                "default": 1048576,
                "description": "Source: longer records are an error"
            }
        }
    },
}
