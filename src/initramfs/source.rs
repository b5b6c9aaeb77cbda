//! A reader that can look ahead, counts what it hands out, and ends with an error at its bound.

use std::io::{self, BufRead, ErrorKind, Read};

const SIZE: usize = 64 << 10;

pub struct Source<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    taken: u64,
    limit: u64,
}

impl<R: Read> Source<R> {
    /// Hands out at most `limit` bytes of `reader`.
    pub fn new(reader: R, limit: u64) -> Source<R> {
        Source { reader, buffer: vec![0; SIZE], start: 0, end: 0, taken: 0, limit }
    }

    /// How many bytes were handed out.
    pub fn position(&self) -> u64 {
        self.taken
    }

    /// The next `count` bytes, or all that are left where those are fewer. They stay.
    pub fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.end - self.start < count {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            while self.end < count && self.fill()? > 0 {}
        }
        Ok(&self.buffer[self.start..self.end.min(self.start + count)])
    }

    pub fn skip(&mut self, mut count: u64) -> io::Result<()> {
        while count > 0 {
            let here = (self.fill_buf()?.len() as u64).min(count);
            if here == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.advance(here as usize)?;
            count -= here;
        }
        Ok(())
    }

    pub fn skip_zeros(&mut self) -> io::Result<()> {
        loop {
            let here = self.fill_buf()?;
            let zeros = here.iter().take_while(|b| **b == 0).count();
            let more = zeros > 0 && zeros == here.len();
            self.advance(zeros)?;
            if !more {
                return Ok(());
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        loop {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(n) => {
                    self.end += n;
                    return Ok(n);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn advance(&mut self, count: usize) -> io::Result<()> {
        self.consume(count);
        if self.taken > self.limit {
            return Err(io::Error::other(format!("there is more in it than the limit of {} bytes", self.limit)));
        }
        Ok(())
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            self.fill()?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.taken += count as u64;
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let here = self.fill_buf()?;
        let count = here.len().min(out.len());
        out[..count].copy_from_slice(&here[..count]);
        self.advance(count)?;
        Ok(count)
    }
}
