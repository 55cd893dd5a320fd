//! Page-locked memory, through which much goes to a device and comes from it.
//!
//! A device copies from page-locked memory by itself, at the speed of the bus, while the processor fills the next buffer; from other
//! memory the driver copies by way of a buffer of its own, and whoever asks waits. Page-locked memory is taken from the whole machine,
//! so there are a few buffers only, which take turns.
//!
//! ```text
//!   processor   fill a   | fill b   | fill c   | wait for a, fill a | ..
//!   device               | copy a   | copy b   | copy c             | copy a ..
//! ```

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use cudarc::driver::sys::CUresult;
use cudarc::driver::{CudaContext, CudaEvent, CudaSlice, CudaStream, DriverError, PinnedHostSlice};
use parking_lot::{Condvar, Mutex};

/// Words of a buffer, and how many of them a device has at most.
const WORDS: usize = 1 << 20;
const BUFFERS: usize = 4;
/// Up to so many words the driver copies what it is given at once into memory of its own, and nobody waits.
const FEW: usize = 1 << 14;
/// Buffers that are filled for one copy from a device before the first of them is emptied.
const AHEAD: usize = 2;

/// Page-locked memory, and when the device is done with it.
#[derive(Debug)]
struct Buffer {
    memory: PinnedHostSlice<u32>,
    done: CudaEvent,
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // Nobody is told of an error of a buffer that was given up.
        let _ = self.done.synchronize();
    }
}

/// A buffer in use, which is gone for good when it is not given back.
struct Lease<'a> {
    staging: &'a Staging,
    buffer: Option<Buffer>,
}

impl Lease<'_> {
    /// The buffer; an error when there is none, which does not happen before it is given back.
    fn memory(&mut self) -> Result<&mut PinnedHostSlice<u32>, DriverError> {
        let buffer = self.buffer.as_mut();
        let missing = DriverError(CUresult::CUDA_ERROR_INVALID_HANDLE);
        buffer.map(|buffer| &mut buffer.memory).ok_or(missing)
    }

    /// Notes that the buffer is in use until `stream` is done with what it was asked for.
    fn mark(&self, stream: &CudaStream) -> Result<(), DriverError> {
        let Some(buffer) = self.buffer.as_ref() else {
            return Ok(());
        };
        buffer.done.record(stream).inspect_err(|_| {
            // Its memory must not go while a copy may be under way.
            let _ = stream.synchronize();
        })
    }

    /// Waits for what was noted last.
    fn wait(&self) -> Result<(), DriverError> {
        match &self.buffer {
            Some(buffer) => buffer.done.synchronize(),
            None => Ok(()),
        }
    }

    /// Gives the buffer back, which is free when `stream` is done with what it was asked for.
    fn give_back(mut self, stream: &CudaStream) -> Result<(), DriverError> {
        self.mark(stream)?;
        let buffer = self.buffer.take();
        self.staging.pool.lock().free.extend(buffer);
        self.staging.returned.notify_one();
        Ok(())
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if self.buffer.take().is_some() {
            self.staging.pool.lock().made -= 1;
            self.staging.returned.notify_one();
        }
    }
}

#[derive(Debug, Default)]
struct Pool {
    free: VecDeque<Buffer>,
    made: usize,
}

/// The page-locked memory of one device.
#[derive(Debug)]
pub(super) struct Staging {
    context: Arc<CudaContext>,
    pool: Mutex<Pool>,
    returned: Condvar,
}

impl Staging {
    pub(super) fn new(context: &Arc<CudaContext>) -> Self {
        Self {
            context: Arc::clone(context),
            pool: Mutex::default(),
            returned: Condvar::new(),
        }
    }

    /// Bytes of page-locked memory that there are.
    pub(super) fn bytes(&self) -> usize {
        4 * WORDS * self.pool.lock().made
    }

    /// Copies `values` to `to`, from word `at` on, in the order of `stream`; `values` may change afterwards.
    pub(super) fn write(
        &self,
        stream: &Arc<CudaStream>,
        to: &mut CudaSlice<u32>,
        at: usize,
        values: &[u32],
    ) -> Result<(), DriverError> {
        if values.len() <= FEW {
            return stream.memcpy_htod(values, &mut to.slice_mut(at..at + values.len()));
        }
        for (turn, part) in values.chunks(WORDS).enumerate() {
            let mut lease = self.take()?;
            let first = at + turn * WORDS;
            let mut places = to.slice_mut(first..first + part.len());
            let (room, _) = lease.memory()?.as_mut_slice()?.split_at_mut(part.len());
            room.copy_from_slice(part);
            // The copy may be under way until the event of the buffer: nobody has it before.
            stream.memcpy_htod(&*room, &mut places)?;
            lease.give_back(stream)?;
        }
        Ok(())
    }

    /// Copies the first words of `from`, in the order of `stream`, and waits for them.
    pub(super) fn read(
        &self,
        stream: &Arc<CudaStream>,
        from: &CudaSlice<u32>,
        values: &mut [u32],
    ) -> Result<(), DriverError> {
        if values.len() <= FEW {
            stream.memcpy_dtoh(&from.slice(..values.len()), values)?;
            return stream.synchronize();
        }
        let mut under_way: VecDeque<(Lease<'_>, Range<usize>)> = VecDeque::new();
        let mut next = 0;
        while next < values.len() || !under_way.is_empty() {
            let end = (next + WORDS).min(values.len());
            // Whoever has a buffer does not wait for another: all could.
            let lease = match under_way.len() {
                0 => Some(self.take()?),
                1..AHEAD if next < end => self.try_take()?,
                _ => None,
            };
            if let Some(mut lease) = lease {
                let (room, _) = lease.memory()?.as_mut_slice()?.split_at_mut(end - next);
                stream.memcpy_dtoh(&from.slice(next..end), room)?;
                lease.mark(stream)?;
                under_way.push_back((lease, next..end));
                next = end;
            } else if let Some((mut lease, range)) = under_way.pop_front() {
                lease.wait()?;
                let (words, _) = lease.memory()?.as_slice()?.split_at(range.len());
                if let Some(places) = values.get_mut(range) {
                    places.copy_from_slice(words);
                }
                lease.give_back(stream)?;
            }
        }
        Ok(())
    }

    /// A buffer that the device is done with; waits for one when all are in use.
    fn take(&self) -> Result<Lease<'_>, DriverError> {
        loop {
            if let Some(lease) = self.try_take()? {
                return Ok(lease);
            }
            let mut pool = self.pool.lock();
            if pool.free.is_empty() && pool.made == BUFFERS {
                self.returned.wait(&mut pool);
            }
        }
    }

    /// The same; `None` when all are in use.
    fn try_take(&self) -> Result<Option<Lease<'_>>, DriverError> {
        let mut lease = Lease {
            staging: self,
            buffer: None,
        };
        let mut pool = self.pool.lock();
        if pool.made < BUFFERS {
            pool.made += 1;
            drop(pool);
            let made = self.make();
            if made.is_err() {
                self.pool.lock().made -= 1;
                self.returned.notify_one();
            }
            lease.buffer = Some(made?);
            return Ok(Some(lease));
        }
        lease.buffer = pool.free.pop_front();
        drop(pool);
        match &lease.buffer {
            Some(buffer) => buffer.done.synchronize()?,
            None => return Ok(None),
        }
        Ok(Some(lease))
    }

    fn make(&self) -> Result<Buffer, DriverError> {
        // No flags: the processor reads from it too, which takes very long from write-combined memory.
        // SAFETY: any bits are a word, and what a copy reads or hands out was written before.
        let memory = unsafe { self.context.alloc_pinned_with_flags(WORDS, 0) }?;
        let done = self.context.new_event(None)?;
        Ok(Buffer { memory, done })
    }
}
