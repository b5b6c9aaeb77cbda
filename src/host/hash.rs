//! SHA-256. What passes by in large amounts is hashed on a thread of its own, so that whoever reads or writes it
//! does not wait for the sums: what is done takes as long as the slower of the two.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use sha2::{Digest, Sha256};

/// Bytes that are handed over at a time. Less than that in all is hashed at once, without a thread.
pub const BLOCK: usize = 256 << 10;
/// Blocks that may wait: enough to go on while the other side is interrupted, and no more than 1 MiB.
const WAITING: usize = 4;

/// The lowercase hexadecimal SHA-256 of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The sum of bytes that come piece by piece.
pub struct Hasher {
    /// Of all that no worker has.
    context: Sha256,
    /// What has not been handed over yet.
    block: Vec<u8>,
    worker: Option<Worker>,
}

struct Worker {
    full: SyncSender<Vec<u8>>,
    empty: Receiver<Vec<u8>>,
    thread: JoinHandle<Sha256>,
}

impl Default for Hasher {
    fn default() -> Hasher {
        Hasher { context: Sha256::new(), block: Vec::new(), worker: None }
    }
}

impl Hasher {
    pub fn update(&mut self, mut bytes: &[u8]) {
        while self.block.len() + bytes.len() >= BLOCK {
            let (now, rest) = bytes.split_at(BLOCK - self.block.len());
            self.block.extend_from_slice(now);
            self.hand_over();
            bytes = rest;
        }
        self.block.extend_from_slice(bytes);
    }

    /// The lowercase hexadecimal sum of what has come so far; more may follow.
    pub fn sha256(&mut self) -> String {
        if let Some(Worker { full, empty, thread }) = self.worker.take() {
            drop((full, empty));
            self.context = thread.join().expect("the worker does not panic");
        }
        self.context.update(&self.block);
        self.block.clear();
        hex(&self.context.clone().finalize())
    }

    fn hand_over(&mut self) {
        if self.worker.is_none() {
            self.worker = Worker::start(self.context.clone());
        }
        let Some(worker) = &self.worker else {
            // No thread can be had.
            self.context.update(&self.block);
            self.block.clear();
            return;
        };
        let next = worker.empty.try_recv().unwrap_or_else(|_| Vec::with_capacity(BLOCK));
        let full = std::mem::replace(&mut self.block, next);
        worker.full.send(full).expect("the worker ends last");
    }
}

impl Worker {
    fn start(mut context: Sha256) -> Option<Worker> {
        let (full, blocks) = sync_channel::<Vec<u8>>(WAITING);
        let (back, empty) = sync_channel(WAITING);
        let work = move || {
            for mut block in blocks {
                context.update(&block);
                block.clear();
                // Where nobody takes it back, it is given up.
                let _ = back.try_send(block);
            }
            context
        };
        let thread = thread::Builder::new().name("sha256".into()).spawn(work).ok()?;
        Some(Worker { full, empty, thread })
    }
}

impl std::io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From FIPS 180-2, appendix B.
    #[test]
    fn known_sums() {
        assert_eq!(sha256(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        let mut hasher = Hasher::default();
        for _ in 0..1000 {
            hasher.update(&[b'a'; 1000]);
        }
        assert_eq!(hasher.sha256(), "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    }

    #[test]
    fn however_it_is_cut() {
        let bytes: Vec<u8> = (0..3 * BLOCK + 17).map(|i| (i * 7 / 3) as u8).collect();
        for piece in [1000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, bytes.len()] {
            let mut hasher = Hasher::default();
            let mut done = 0;
            for part in bytes.chunks(piece) {
                hasher.update(part);
                done += part.len();
                // In the middle as at the end; and it goes on after that.
                if done >= bytes.len() / 2 {
                    assert_eq!(hasher.sha256(), sha256(&bytes[..done]), "{piece}: {done}");
                }
            }
            assert_eq!(hasher.sha256(), sha256(&bytes), "{piece}");
        }
        assert_eq!(Hasher::default().sha256(), sha256(b""));
    }
}
