/* The parallel-for of XLA's own threads. */
#ifndef BPX_XLA_POOL_HPP
#define BPX_XLA_POOL_HPP

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>

#include "bpx_native.h"
#include "xla/ffi/api/ffi.h"

namespace bpx_xla {

using Clock = std::chrono::steady_clock;

/* A processor's hint that a loop waits for another thread. */
inline void Pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/* XLA may run a scheduled task late, after the loop is over: the loop is shared, and the wait is for
 * its chunks, not for its tasks. The caller works too, so a busy pool cannot block it. The chunks are
 * cut into a range for each of those that work, which helps the others when it is done: a core finds
 * in its cache what it wrote in the call before. What other threads still work on in the end is one
 * chunk each, which takes less than putting the caller to sleep and waking it: it looks again for a
 * while before it sleeps. */
class Loop {
  public:
    Loop(int64_t chunks, int64_t ranges, bpx_task task, void* state)
        : chunks_(chunks), ranges_(ranges), of_(new Range[ranges]), task_(task), state_(state) {
        for (int64_t i = 0; i < ranges; i++) {
            of_[i].next = chunks * i / ranges;
            of_[i].end = chunks * (i + 1) / ranges;
        }
    }

    /* How many chunks were done here. */
    int64_t Work(int64_t own) {
        int64_t finished = 0;
        for (int64_t i = 0; i < ranges_; i++) {
            Range& range = of_[(own + i) % ranges_];
            for (int64_t chunk; (chunk = range.next.fetch_add(1)) < range.end; finished++)
                task_(state_, chunk);
        }
        if (finished > 0 && finished_.fetch_add(finished) + finished == chunks_) {
            std::lock_guard<std::mutex> lock(mutex_);
            all_.notify_one();
        }
        return finished;
    }

    void Wait() {
        const auto until = Clock::now() + kPatience;
        do {
            for (int i = 0; i < 16; i++, Pause())
                if (finished_.load() == chunks_) return;
        } while (Clock::now() < until);
        std::unique_lock<std::mutex> lock(mutex_);
        all_.wait(lock, [this] { return finished_.load() == chunks_; });
    }

  private:
    static constexpr std::chrono::microseconds kPatience{100};

    struct alignas(64) Range {
        std::atomic<int64_t> next;
        int64_t end;
    };

    const int64_t chunks_, ranges_;
    const std::unique_ptr<Range[]> of_;
    const bpx_task task_;
    void* const state_;
    std::atomic<int64_t> finished_{0};
    std::mutex mutex_;
    std::condition_variable all_;
};

/* What loops took when they were last run, in nanoseconds of one thread. A guess for how many threads
 * are worth waking, no more: entries of other calls may take a place, and threads may write at once. */
class Costs {
  public:
    /* 0 where it is not known. */
    static int64_t Of(uint64_t call) {
        const uint64_t entry = Place(call).load(std::memory_order_relaxed);
        return Tag(entry) == Tag(call) ? static_cast<int64_t>(entry & kMost) : 0;
    }

    static void Keep(uint64_t call, double nanoseconds) {
        const auto cost = static_cast<uint64_t>(std::min<double>(nanoseconds, kMost)) | 1;
        Place(call).store(Tag(call) << 32 | cost, std::memory_order_relaxed);
    }

  private:
    static constexpr uint64_t kMost = 0xffffffff;
    static uint64_t Tag(uint64_t number) { return number >> 32; }
    static std::atomic<uint64_t>& Place(uint64_t call) {
        static std::atomic<uint64_t> places[4096];
        return places[call % 4096];
    }
};

/* FNV-1a over eight bytes at a time, then mixed, since high and low bits are both looked at. */
inline uint64_t Mixed(uint64_t call, uint64_t number) {
    call = (call ^ number) * 0x100000001b3;
    return call ^ call >> 29;
}

/* What a kernel is given as its host. `call` is a number for the kernel and its sizes. */
struct Host {
    xla::ffi::ThreadPool* pool;
    uint64_t call;
};

/* To wake a thread costs about what it then does in this time. */
constexpr int64_t kShare = 15000;

/* Chunks and what each computes are the same for any number of threads, so the time that the loop took
 * before may choose it. */
inline void For(void* given, int64_t chunks, bpx_task task, void* state) {
    auto* host = static_cast<Host*>(given);
    const uint64_t call = host->call = Mixed(host->call, chunks);
    int64_t threads = std::max<int64_t>(std::min(host->pool->num_threads(), chunks), 1);
    if (const int64_t cost = Costs::Of(call); cost > 0)
        threads = std::max<int64_t>(std::min(threads, cost / kShare), 1);
    std::shared_ptr<Loop> loop;
    if (threads > 1) loop = std::make_shared<Loop>(chunks, threads, task, state);
    for (int64_t i = 1; i < threads; i++) host->pool->Schedule([loop, i] { loop->Work(i); });
    const auto start = Clock::now();
    int64_t mine = chunks;
    if (loop)
        mine = loop->Work(0);
    else
        for (int64_t chunk = 0; chunk < chunks; chunk++) task(state, chunk);
    const std::chrono::duration<double, std::nano> took = Clock::now() - start;
    if (mine > 0) Costs::Keep(call, took.count() * static_cast<double>(chunks) / mine);
    if (loop) loop->Wait();
}

}  // namespace bpx_xla

#endif
