//! What a plugin prints: lines in its journal.

use std::collections::BTreeMap;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::journal::{Journal, Level};

/// A line is cut here.
const LINE_BYTES_MAX: usize = 1024;

/// One of a guest's two output streams.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    journal: Arc<Journal>,
    /// Protects the line that is not finished; held while bytes are looked at.
    partial: Arc<Mutex<Vec<u8>>>,
}

impl Lines {
    pub(super) fn new(journal: &Arc<Journal>) -> Lines {
        Lines { journal: Arc::clone(journal), partial: Arc::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        for &byte in bytes {
            if byte == b'\n' {
                self.write_out(&mut partial);
            } else if partial.len() < LINE_BYTES_MAX {
                partial.push(byte);
            }
        }
    }

    fn write_out(&self, line: &mut Vec<u8>) {
        let text = String::from_utf8_lossy(line).trim_end().to_owned();
        line.clear();
        if !text.is_empty() {
            self.journal.add(Level::Info, "", text, BTreeMap::new());
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if Arc::strong_count(&self.partial) == 1 {
            let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
            self.write_out(&mut partial);
        }
    }
}

impl IsTerminal for Lines {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Lines {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Lines {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
