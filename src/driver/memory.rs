//! The allocator, and what gives memory that is free again back to the operating system.

use std::alloc::{GlobalAlloc, Layout};

use mimalloc::MiMalloc;

unsafe extern "C" {
    /// `mimalloc.h`: so many bytes, aligned to [`ALIGNMENT`].
    fn mi_malloc(size: usize) -> *mut u8;
    /// The same, of zeros.
    fn mi_zalloc(size: usize) -> *mut u8;
    /// `mimalloc.h`: frees what can be freed of the calling thread's heap and of what all threads draw on; without `force`
    /// only what has been free for `purge_delay`, a second.
    fn mi_collect(force: bool);
}

/// What every block of mimalloc is aligned to, the smallest included.
const ALIGNMENT: usize = 8;

/// mimalloc. To be asked for an alignment costs it several times as much, and mostly the next larger size of blocks; so it
/// is asked only where its own is not enough.
pub struct Allocator;

// SAFETY: every block comes from mimalloc, whose functions do as the trait asks, and goes back to it.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            // SAFETY: may be called with any size.
            return unsafe { mi_malloc(layout.size()) };
        }
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if layout.align() <= ALIGNMENT {
            // SAFETY: may be called with any size.
            return unsafe { mi_zalloc(layout.size()) };
        }
        // SAFETY: as the caller promises.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises; mimalloc knows its blocks, however they were asked for.
        unsafe { MiMalloc.dealloc(block, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: as the caller promises; mimalloc knows its blocks, however they were asked for.
        unsafe { MiMalloc.realloc(block, layout, new_size) }
    }
}

/// Gives back what has been free for a second; `all`: whatever is free, though it costs more to have it again. The allocator
/// itself looks only now and then, and only while it is asked for more: what an attack took would stay for as long as it is
/// quiet afterwards.
pub fn give_back(all: bool) {
    // SAFETY: may be called at any time on any thread; it takes no pointer and frees nothing that is in use.
    unsafe { mi_collect(all) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_aligned_zero_where_asked_for_and_keep_what_is_in_them() {
        for align in [1, 2, 4, 8, 16, 64, 4096] {
            for size in (1..200).chain([1_000, 4_097, 70_000]) {
                let layout = Layout::from_size_align(size, align).unwrap();
                // SAFETY: blocks are used within their sizes and given back with the layouts they were asked for.
                unsafe {
                    let zeros = Allocator.alloc_zeroed(layout);
                    let block = Allocator.alloc(layout);
                    assert!(
                        [zeros, block].iter().all(|b| !b.is_null() && b.addr().is_multiple_of(align)),
                        "{layout:?}"
                    );
                    assert!(std::slice::from_raw_parts(zeros, size).iter().all(|&byte| byte == 0), "{layout:?}");
                    block.write_bytes(7, size);
                    let grown = Allocator.realloc(block, layout, 3 * size);
                    assert!(!grown.is_null() && grown.addr().is_multiple_of(align), "{layout:?}");
                    assert!(std::slice::from_raw_parts(grown, size).iter().all(|&byte| byte == 7), "{layout:?}");
                    Allocator.dealloc(zeros, layout);
                    Allocator.dealloc(grown, Layout::from_size_align(3 * size, align).unwrap());
                }
            }
        }
    }
}
