//! Which device has what of a graph.
//!
//! Where every device has the room, each has a copy, and queries are shared between them: then twice as many devices answer twice as
//! many. Otherwise each has every so-and-so-many-th node. Links that leave a part are bridged by those of the node that they lead to, so
//! that each part is a graph of as many links; every query walks all parts, and the best rows of all of them are the answer. The index
//! itself, and its blob, have one graph either way, for any number of devices, and for none.

use std::sync::Arc;

use super::host::HostGraph;
use super::resident::{GraphOnDevice, Part, bytes};
use crate::gpu::backend::{Backend, Device};
use crate::gpu::error::GpuError;
use crate::gpu::sides::Sides;
use crate::gpu::threads::at_once;

/// A graph on some devices.
#[derive(Debug)]
pub(super) struct Placement<B: Backend> {
    /// What each device has.
    pub(super) graphs: Vec<GraphOnDevice<B>>,
    /// Whether that is the whole graph.
    pub(super) copies: bool,
}

impl<B: Backend> Placement<B> {
    /// Uploads the base layer of a graph over the rows of `sides`.
    ///
    /// # Errors
    /// When a device fails, or has not the memory for its part.
    pub(super) fn upload(
        devices: &[Arc<Device<B>>],
        host: &HostGraph<'_>,
        sides: &Sides<'_>,
    ) -> Result<Self, GpuError> {
        let whole = bytes(host.count, (sides.element, sides.dim), host.degree);
        // A third of what is free stays free for searches.
        let has_room = |device: &Arc<Device<B>>| whole <= device.budget.free() / 3 * 2;
        let copies = devices.len() < 2 || devices.iter().all(has_room);
        let graphs = at_once(devices, |at, device| {
            let part = Part {
                number: if copies { 0 } else { at },
                of: if copies { 1 } else { devices.len() },
            };
            GraphOnDevice::upload(device, host, sides, part)
        });
        Ok(Self {
            graphs: graphs.into_iter().flatten().collect::<Result<_, _>>()?,
            copies,
        })
    }
}
