//! QUIC with nothing on it: bytes one way, over as many streams as there are partitions, with the very settings that a
//! broker and its clients have. What is left of it with Kafka's protocol on top is what that costs.

use std::time::{Duration, Instant};

use brooklet_client::transport::Dialer;
use brooklet_client::{ConnectError, Peer};
use brooklet_io::quic::{Arriving, QuicListener, Reason, RecvStream, SendStream, abort};
use bytes::Bytes;
use quinn::Connection;
use tokio::task::JoinSet;

use crate::MeasureError;

/// The first byte of a stream that brings bytes.
const PUSH: u8 = b'<';
/// And of one that wants some.
const PULL: u8 = b'>';
/// What is handed to a stream at once: as much as a batch of our producer.
const CHUNK: Bytes = Bytes::from_static(&[0x5a; 256 << 10]);

/// Serves whoever comes, until the socket fails.
pub async fn serve(mut listener: QuicListener) {
    let mut connections = JoinSet::new();
    while let Some(arriving) = listener.accept().await {
        connections.spawn(serve_one(arriving));
    }
}

async fn serve_one(arriving: Arriving) {
    let Ok((connection, handshake)) = arriving.accept() else { return };
    if handshake.done(&connection).await.is_err() {
        return;
    }
    connection.widen();
    let mut streams = JoinSet::new();
    while let Ok((reader, writer)) = connection.accept().await {
        streams.spawn(answer(reader, writer));
    }
}

async fn answer(mut reader: RecvStream, mut writer: SendStream) {
    let mut wish = [0];
    match reader.read_exact(&mut wish).await.map(|()| wish) {
        Ok([PUSH]) => while let Ok(Some(_)) = reader.read_chunk(usize::MAX, true).await {},
        // Until nobody wants more.
        Ok([PULL]) => while writer.write_chunk(CHUNK).await.is_ok() {},
        Ok(_) | Err(_) => abort(&mut reader, &mut writer, Reason::Refused),
    }
}

/// The client's end.
pub struct Bare {
    connection: Connection,
}

impl Bare {
    /// Connects to whoever [`serve`]s.
    pub async fn connect(dialer: &Dialer, peer: &Peer) -> Result<Bare, ConnectError> {
        Ok(Bare { connection: dialer.bare(peer).await? })
    }

    /// 10^6 bytes a second that arrive at the other end.
    pub(crate) async fn push(&self, streams: u32, length: Duration) -> Result<f64, MeasureError> {
        self.all(streams, length, push).await
    }

    /// 10^6 bytes a second that arrive here.
    pub(crate) async fn pull(&self, streams: u32, length: Duration) -> Result<f64, MeasureError> {
        self.all(streams, length, pull).await
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody moves 2^53 bytes")]
    async fn all<F>(
        &self,
        streams: u32,
        length: Duration,
        one: impl Fn(Connection, Instant) -> F,
    ) -> Result<f64, MeasureError>
    where
        F: Future<Output = Result<u64, quinn::WriteError>> + Send + 'static,
    {
        let lost = |error: &dyn std::fmt::Display| MeasureError::Bare(error.to_string());
        let began = Instant::now();
        let mut moving = JoinSet::new();
        for _ in 0..streams {
            moving.spawn(one(self.connection.clone(), began + length));
        }
        let mut bytes = 0;
        while let Some(moved) = moving.join_next().await {
            bytes += moved.map_err(|error| lost(&error))?.map_err(|error| lost(&error))?;
        }
        Ok(bytes as f64 / 1e6 / began.elapsed().as_secs_f64())
    }
}

async fn push(connection: Connection, until: Instant) -> Result<u64, quinn::WriteError> {
    let (mut writer, _reader) = connection.open_bi().await?;
    writer.write_all(&[PUSH]).await?;
    let mut bytes = 0;
    while Instant::now() < until {
        writer.write_chunk(CHUNK).await?;
        bytes += count(CHUNK.len());
    }
    // Both only fail where the stream has ended already, and with it the connection.
    let _ = writer.finish();
    let _ = writer.stopped().await;
    Ok(bytes)
}

async fn pull(connection: Connection, until: Instant) -> Result<u64, quinn::WriteError> {
    let (mut writer, mut reader) = connection.open_bi().await?;
    writer.write_all(&[PULL]).await?;
    let mut bytes = 0;
    while Instant::now() < until {
        // The other end writes until it is told not to: an end is the connection's.
        let Ok(Some(chunk)) = reader.read_chunk(usize::MAX, true).await else {
            return Err(connection.closed().await.into());
        };
        bytes += count(chunk.bytes.len());
    }
    Ok(bytes)
}

fn count(bytes: usize) -> u64 {
    u64::try_from(bytes).expect("a chunk is small")
}
