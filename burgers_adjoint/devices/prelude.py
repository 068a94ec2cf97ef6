"""What kernels start with: the same text is compiled for a device, and for the host in tests.

    ENTRY void name(int blocks_x, int blocks_y, int threads, int shared_doubles, ...) {
      FOR_BLOCKS(bx, by) {
        SHARED(shared)                     // double* shared: dynamic shared memory of the block
        THREAD_STATES(State, states)       // a struct for each thread, kept over barriers
        { FOR_THREADS(t) { ... STATE(states, t).x ... } }
        BARRIER
        { FOR_THREADS(t) { ... } }
      }
    }

On a device the two FORs declare where a thread is; on the host they are loops, a block after the
other. So nothing but what lies in shared memory or in a state outlives a barrier, no body is left
by `return` or `continue`, and no barrier lies in a branch that depends on the thread. Shared memory
starts with no meaning, states with zeros on a device.

Operations are rounded one by one: add_, sub_, mul_, div_, sqrt_, fma_ and abs_. Bits of a double
are bits_(x), a uint64. ATOMIC_ADD, ATOMIC_MIN and ATOMIC_MAX take a pointer to uint64 and a value.
"""

NVRTC_OPTIONS = ("--fmad=false", "-std=c++17")
HOST_OPTIONS = ("-std=c++17", "-ffp-contract=off", "-fno-strict-aliasing")

DEVICE = """\
typedef long long int64;
typedef unsigned long long uint64;
#define ENTRY extern "C" __global__
#define INLINE static __device__ __forceinline__
#define RESTRICT __restrict__
#define FOR_BLOCKS(bx, by) const int bx = blockIdx.x, by = blockIdx.y;
#define FOR_THREADS(t) const int t = threadIdx.x;
#define SHARED(s) extern __shared__ double s[];
// zeros: of what is read before it is written the compiler may assume anything
#define THREAD_STATES(S, s) S s = {};
#define STATE(s, t) s
#define BARRIER __syncthreads();
#define ATOMIC_ADD(p, v) atomicAdd((p), (uint64)(v))
#define ATOMIC_MIN(p, v) atomicMin((p), (uint64)(v))
#define ATOMIC_MAX(p, v) atomicMax((p), (uint64)(v))
INLINE double add_(double a, double b) { return __dadd_rn(a, b); }
INLINE double sub_(double a, double b) { return __dsub_rn(a, b); }
INLINE double mul_(double a, double b) { return __dmul_rn(a, b); }
INLINE double div_(double a, double b) { return __ddiv_rn(a, b); }
INLINE double sqrt_(double a) { return __dsqrt_rn(a); }
INLINE double fma_(double a, double b, double c) { return __fma_rn(a, b, c); }
INLINE double abs_(double a) { return fabs(a); }
INLINE uint64 bits_(double a) { return (uint64)__double_as_longlong(a); }
"""

HOST = """\
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>
typedef long long int64;
typedef unsigned long long uint64;
#define ENTRY extern "C"
#define INLINE static inline
#define RESTRICT __restrict__
#define FOR_BLOCKS(bx, by) \\
  for (int by = 0; by < blocks_y; ++by) for (int bx = 0; bx < blocks_x; ++bx)
#define FOR_THREADS(t) for (int t = 0; t < threads; ++t)
// no kernel may count on zeros
#define SHARED(s) \\
  std::vector<double> s##_(shared_doubles, std::numeric_limits<double>::quiet_NaN()); \\
  double* const s = s##_.data(); (void)s;
#define THREAD_STATES(S, s) \\
  std::vector<S> s(threads); std::memset((void*)s.data(), 255, threads * sizeof(S));
#define STATE(s, t) s[t]
#define BARRIER
#define ATOMIC_ADD(p, v) (*(p) += (uint64)(v))
#define ATOMIC_MIN(p, v) (*(p) = (uint64)(v) < *(p) ? (uint64)(v) : *(p))
#define ATOMIC_MAX(p, v) (*(p) = (uint64)(v) > *(p) ? (uint64)(v) : *(p))
INLINE double add_(double a, double b) { return a + b; }
INLINE double sub_(double a, double b) { return a - b; }
INLINE double mul_(double a, double b) { return a * b; }
INLINE double div_(double a, double b) { return a / b; }
INLINE double sqrt_(double a) { return std::sqrt(a); }
INLINE double fma_(double a, double b, double c) { return std::fma(a, b, c); }
INLINE double abs_(double a) { return std::fabs(a); }
INLINE uint64 bits_(double a) { uint64 bits; std::memcpy(&bits, &a, 8); return bits; }
"""
