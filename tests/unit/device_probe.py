"""A kernel that uses all of the prelude: neighbours in a block that is a ring, what was kept."""

PROBE = """
struct Kept { double old; };
INLINE double mean_(double a, double b) { return mul_(add_(a, b), 0.5); }
ENTRY void probe(int blocks_x, int blocks_y, int threads, int shared_doubles,
    const double* RESTRICT values, double* RESTRICT out, uint64* counts, int n, int64 more,
    double factor) {
  FOR_BLOCKS(bx, by) {
    SHARED(shared)
    THREAD_STATES(Kept, kept)
    const int first = (by * blocks_x + bx) * threads;
    { FOR_THREADS(t) {
      shared[t] = first + t < n ? values[first + t] : 0.0;
      STATE(kept, t).old = sqrt_(abs_(shared[t]));
    } }
    BARRIER
    { FOR_THREADS(t) {
      if (first + t < n)
        out[first + t] = fma_(factor, mean_(shared[t], shared[(t + 1) % threads]),
            div_(STATE(kept, t).old, sub_(3.0, (double)more)));
      ATOMIC_ADD(counts, 1);
      ATOMIC_MIN(counts + 1, first + t);
      ATOMIC_MAX(counts + 2, first + t);
      if (bits_(shared[t]) >> 63) ATOMIC_ADD(counts + 3, 1);
    } }
  }
}
"""
