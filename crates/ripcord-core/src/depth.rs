//! How far above the end came from: [`Ctx::cause_depth`].

use crate::ctx::Ctx;

impl Ctx {
    /// How many levels up the end of this context came from; `None` while it is live.
    ///
    /// Zero: it was cancelled itself, or its own deadline passed. A level is a context that can end by
    /// itself: names and values add none. For reports: an end that comes from far above, as a
    /// shutdown's, is nobody's fault down here.
    ///
    /// This is no observation, and does not change what latency reports say.
    ///
    /// # Examples
    /// ```
    /// use ripcord_core::{Ctx, Kind};
    ///
    /// let (server, guard) = Ctx::background().child();
    /// let (request, _request) = server.named("GET /orders").child();
    /// let (query, _query) = request.child();
    /// assert_eq!(query.cause_depth(), None);
    /// guard.cancel(Kind::Shutdown);
    /// assert_eq!((server.cause_depth(), query.cause_depth()), (Some(0), Some(2)));
    /// ```
    ///
    /// # Costs
    /// Linear in the number of levels up to where the end came from.
    ///
    /// # Limitations
    /// The count stops at a shield, a merge or a foreign source: what is above those is another tree.
    #[must_use]
    pub fn cause_depth(&self) -> Option<usize> {
        let mut node = self.target()?;
        let cause = node.cause()?;
        let mut depth = 0_usize;
        while let Some(up) = node.up() {
            if up.cause().is_none_or(|above| above != cause) {
                break;
            }
            depth = depth.saturating_add(1);
            node = up;
        }
        Some(depth)
    }
}
