//! What stands before a datum.

use brooklet::Reject;

/// How a datum says which schema it was written with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Framing {
    /// It does not.
    #[default]
    None,
    /// A zero and four bytes, most significant first, of a registry's id.
    Confluent,
}

const MAGIC: u8 = 0;

impl Framing {
    /// Takes a frame off: the writer's schema, if it says, and the datum.
    pub(crate) fn open(self, data: &[u8]) -> Result<(Option<u32>, &[u8]), Reject> {
        match (self, data) {
            (Framing::None, datum) => Ok((None, datum)),
            (Framing::Confluent, [MAGIC, a, b, c, d, datum @ ..]) => {
                Ok((Some(u32::from_be_bytes([*a, *b, *c, *d])), datum))
            }
            (Framing::Confluent, [MAGIC, ..]) => Err(Reject::new("framing", "no whole schema id")),
            (Framing::Confluent, _) => {
                Err(Reject::new("framing", "does not begin with a zero and a schema id"))
            }
        }
    }

    /// Appends a datum in its frame.
    pub(crate) fn close(self, id: u32, datum: &[u8], out: &mut Vec<u8>) {
        match self {
            Framing::None => {}
            Framing::Confluent => {
                out.push(MAGIC);
                out.extend_from_slice(&id.to_be_bytes());
            }
        }
        out.extend_from_slice(datum);
    }
}
