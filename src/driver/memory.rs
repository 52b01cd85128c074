//! Memory that is free again goes back to the operating system.

// Links the allocator also where it is not the global one.
use mimalloc as _;

unsafe extern "C" {
    /// `mimalloc.h`: frees what can be freed of the calling thread's heap; without `force` only what has been free for
    /// `purge_delay`, a second.
    fn mi_collect(force: bool);
}

/// Gives back what has been free for a second. The allocator itself looks only now and then, and only while it is asked for
/// more: what an attack took would stay for as long as it is quiet afterwards.
pub fn give_back() {
    // SAFETY: may be called at any time on any thread; it takes no pointer and frees nothing that is in use.
    unsafe { mi_collect(false) };
}
