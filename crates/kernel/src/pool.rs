//! Threads for work that comes in many short pieces: they wait a moment for the next piece before
//! they go to sleep.
#![allow(unsafe_code, reason = "the task's lifetime is erased while other threads call it")]

mod affinity;

use crate::KernelError;
use std::any::Any;
use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a thread waits for others before it blocks: longer than the pause between two
/// products, shorter than anyone would call waste.
const PATIENCE: Duration = Duration::from_micros(50);

thread_local! {
    /// Whether this thread is at a task now, so that work that the task submits is done inline.
    static AT_WORK: Cell<bool> = const { Cell::new(false) };
}

/// A fixed set of threads that share the tasks of one caller at a time.
///
/// The thread that calls takes part. Tasks may call the pool again; such work is done inline.
/// Callers on several threads take turns.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    turn: Mutex<()>,
}

impl Pool {
    /// A pool of this many threads, the caller's included: 0 and 1 start none. If the system
    /// refuses threads, the pool has fewer, as [`threads`](Self::threads) tells.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let shared = Arc::new(Shared::new(threads));
        let workers = (1..threads)
            .map_while(|i| {
                let shared = Arc::clone(&shared);
                let name = format!("apr-kernel-{i}");
                thread::Builder::new().name(name).spawn(move || shared.work_until_closed(i)).ok()
            })
            .collect();
        Self { shared, workers, turn: Mutex::new(()) }
    }

    /// Keeps each thread on a processor of its own, the calling thread on the first one that this
    /// process may use; where there are fewer processors than threads, some share one. Threads
    /// that the calling thread starts afterwards stay on its processor, except those of a pool
    /// that is pinned too. Results do not depend on it.
    ///
    /// # Errors
    /// When the system refuses, or is not asked: this is for Linux alone.
    pub fn pin(&self) -> Result<(), KernelError> {
        self.pin_to(processors())
    }

    fn pin_to(&self, processors: &[usize]) -> Result<(), KernelError> {
        let mut next = processors.iter().copied().cycle();
        let mut processor = || next.next().ok_or(io::Error::from(io::ErrorKind::Unsupported));
        let pinned = processor().and_then(affinity::pin_self).and_then(|()| {
            self.workers.iter().try_for_each(|w| affinity::pin_thread(w, processor()?))
        });
        pinned.map_err(|error| KernelError::Pin { reason: error.to_string() })
    }

    /// Number of threads that work, the caller's included.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Calls `task(0)` to `task(tasks - 1)`, each once, on this thread and the others; returns
    /// when all are done. Each thread begins with a share of its own, tasks that follow one
    /// another, and takes those of the others afterwards.
    ///
    /// # Panics
    /// When a task panics: with its payload, after the tasks that had begun; others may be left
    /// out.
    pub fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        if self.workers.is_empty() || tasks <= 1 || AT_WORK.get() {
            (0..tasks).for_each(task);
            return;
        }
        let turn = lock(&self.turn);
        // SAFETY: the reference is used by this thread, and by others that hold the read lock of
        // `shared.job`. `finish` empties the job under the write lock, so that no thread has the
        // reference or can get it afterwards. It is called before this function returns, and
        // nothing before it unwinds: panics of tasks are caught where they are called.
        let task: &'static (dyn Fn(usize) + Sync) = unsafe { std::mem::transmute(task) };
        self.shared.publish(Job { task, tasks });
        AT_WORK.set(true);
        self.shared.work(0);
        AT_WORK.set(false);
        let panic = self.shared.finish();
        drop(turn);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    /// Calls `f(i, chunk)` for each chunk of `data` of `chunk_len` elements, the last one with the
    /// rest, in parallel as [`run`](Self::run) does.
    ///
    /// # Panics
    /// When `chunk_len` is 0, or when `f` panics.
    pub fn for_each_chunk<T: Send>(
        &self,
        data: &mut [T],
        chunk_len: usize,
        f: impl Fn(usize, &mut [T]) + Sync,
    ) {
        assert!(chunk_len > 0, "chunks of no elements");
        let (len, start) = (data.len(), Start(data.as_mut_ptr()));
        self.run(len.div_ceil(chunk_len), &|i| {
            let first = i * chunk_len;
            let count = chunk_len.min(len - first);
            // SAFETY: there are as many tasks as chunks, so that `first` is within `data`, which is
            // borrowed until `run` returns. Each number is called once, and chunks of different
            // numbers have no element in common.
            f(i, unsafe { std::slice::from_raw_parts_mut(start.get().add(first), count) });
        });
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        self.shared.announce();
        for worker in self.workers.drain(..) {
            // Workers catch the panics of tasks and have none of their own to report.
            let _ = worker.join();
        }
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads()).finish_non_exhaustive()
    }
}

/// Where elements begin that several threads have parts of.
struct Start<T>(*mut T);

impl<T> Start<T> {
    fn get(&self) -> *mut T {
        self.0
    }
}

// SAFETY: this gives away the place alone. Those that make elements of it hand each to one thread,
// as `T: Send` allows.
unsafe impl<T: Send> Sync for Start<T> {}

#[derive(Clone, Copy)]
struct Job {
    task: &'static (dyn Fn(usize) + Sync),
    tasks: usize,
}

/// Keeps what it holds off the cache lines of its neighbours.
#[derive(Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// What callers and workers have in common.
///
/// `job` is read-locked by every thread for as long as it uses the job. `announced` is what idle
/// workers look at: it changes after a job is published and when the pool closes.
struct Shared {
    job: Apart<RwLock<Option<Job>>>,
    /// The next task of each thread's share.
    shares: Vec<Apart<AtomicUsize>>,
    announced: Apart<AtomicUsize>,
    sleepers: AtomicUsize,
    closed: AtomicBool,
    bed: Mutex<()>,
    alarm: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    /// There are more threads than cores, so that waiting must not keep a core busy.
    crowded: bool,
}

impl Shared {
    fn new(threads: usize) -> Self {
        Self {
            job: Apart::default(),
            shares: (0..threads.max(1)).map(|_| Apart::default()).collect(),
            announced: Apart::default(),
            sleepers: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            bed: Mutex::new(()),
            alarm: Condvar::new(),
            panic: Mutex::new(None),
            crowded: threads > processors().len().max(1),
        }
    }

    fn publish(&self, job: Job) {
        let mut slot = self.job.0.write().unwrap_or_else(PoisonError::into_inner);
        for (thread, next) in self.shares.iter().enumerate() {
            next.0.store(self.share(thread, job.tasks).start, Ordering::Relaxed);
        }
        *slot = Some(job);
        drop(slot);
        self.announce();
    }

    /// Wakes the workers. A worker counts itself as asleep before it looks at `announced` for the
    /// last time, and here `announced` changes before the sleepers are counted; both in sequential
    /// consistency, so that one of the two sees the other.
    fn announce(&self) {
        self.announced.0.fetch_add(1, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            // A worker that has not begun to wait yet holds this lock.
            drop(lock(&self.bed));
            self.alarm.notify_all();
        }
    }

    /// The tasks that a thread begins with.
    fn share(&self, thread: usize, tasks: usize) -> Range<usize> {
        let (of_each, more) = (tasks / self.shares.len(), tasks % self.shares.len());
        let start = |thread| thread * of_each + more.min(thread);
        start(thread)..start(thread + 1)
    }

    fn work_until_closed(&self, thread: usize) {
        AT_WORK.set(true);
        let mut seen = 0;
        loop {
            seen = self.wait_for_news(seen);
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            self.work(thread);
        }
    }

    /// Returns the count of announcements when it is no longer `seen`.
    fn wait_for_news(&self, seen: usize) -> usize {
        let news = || Some(self.announced.0.load(Ordering::SeqCst)).filter(|&count| count != seen);
        if let Some(count) = self.patiently(news) {
            return count;
        }
        let mut bed = lock(&self.bed);
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let count = loop {
            if let Some(count) = news() {
                break count;
            }
            bed = self.alarm.wait(bed).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        count
    }

    /// Does tasks of the job, if there is one, until all are taken: those of this thread's share,
    /// then the others'. Does not unwind.
    fn work(&self, thread: usize) {
        let job = self.job.0.read().unwrap_or_else(PoisonError::into_inner);
        let Some(Job { task, tasks }) = *job else { return };
        for owner in (thread..self.shares.len()).chain(0..thread) {
            let end = self.share(owner, tasks).end;
            loop {
                let index = self.shares[owner].0.fetch_add(1, Ordering::Relaxed);
                if index >= end {
                    break;
                }
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| task(index))) {
                    self.shares.iter().for_each(|next| next.0.store(tasks, Ordering::Relaxed));
                    self.keep_first(payload);
                }
            }
        }
    }

    fn keep_first(&self, payload: Box<dyn Any + Send>) {
        let mut first = lock(&self.panic);
        match *first {
            None => *first = Some(payload),
            // Dropping a payload may panic itself, and here nothing may unwind.
            Some(_) => std::mem::forget(payload),
        }
    }

    /// Takes the job away when all threads have left it: as all tasks are taken then, they are
    /// done. Returns the payload of the first panic.
    fn finish(&self) -> Option<Box<dyn Any + Send>> {
        let at_once = self.patiently(|| self.job.0.try_write().ok());
        let mut job = at_once.unwrap_or_else(|| self.blocking_write());
        *job = None;
        drop(job);
        lock(&self.panic).take()
    }

    fn blocking_write(&self) -> RwLockWriteGuard<'_, Option<Job>> {
        self.job.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks again and again, until there is an answer or patience is at its end.
    fn patiently<T>(&self, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        let mut deadline = None;
        loop {
            for _ in 0..64 {
                if let Some(answer) = ask() {
                    return Some(answer);
                }
                if self.crowded {
                    thread::yield_now();
                } else {
                    std::hint::spin_loop();
                }
            }
            let now = Instant::now();
            if now >= *deadline.get_or_insert(now + PATIENCE) {
                return None;
            }
        }
    }
}

/// The processors that this process may use, by number, as they were before any thread was pinned;
/// none where the system is not asked.
fn processors() -> &'static [usize] {
    static PROCESSORS: OnceLock<Vec<usize>> = OnceLock::new();
    PROCESSORS.get_or_init(|| affinity::allowed().unwrap_or_default())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU32;

    /// Runs counting tasks and asserts that each was called once.
    fn check_run(pool: &Pool, tasks: usize) {
        let calls: Vec<_> = (0..tasks).map(|_| AtomicU32::new(0)).collect();
        pool.run(tasks, &|i| {
            calls[i].fetch_add(1, Ordering::Relaxed);
        });
        assert!(calls.iter().all(|calls| calls.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn each_task_is_called_once() {
        for threads in [0, 1, 2, 3, 16] {
            let pool = Pool::new(threads);
            assert_eq!(pool.threads(), threads.max(1));
            for tasks in [0, 1, 2, 3, 100] {
                check_run(&pool, tasks);
            }
        }
    }

    #[test]
    fn shares_are_disjoint_and_complete() {
        for threads in 1..5 {
            let shared = Shared::new(threads);
            for tasks in 0..20 {
                let shares = (0..threads).flat_map(|thread| shared.share(thread, tasks));
                assert!(shares.eq(0..tasks), "{tasks} tasks of {threads} threads");
            }
        }
    }

    /// One thread is kept at the first task, so that another must do all that it began with.
    #[test]
    fn a_share_is_finished_by_others() {
        let (pool, tasks) = (Pool::new(2), 10);
        let done = AtomicUsize::new(0);
        pool.run(tasks, &|i| {
            while i == 0 && done.load(Ordering::SeqCst) < tasks - 1 {
                thread::yield_now();
            }
            done.fetch_add(1, Ordering::SeqCst);
        });
        assert_eq!(done.into_inner(), tasks);
    }

    #[test]
    fn many_short_runs() {
        let pool = Pool::new(2);
        let sum = AtomicUsize::new(0);
        for _ in 0..100_000 {
            pool.run(3, &|i| {
                sum.fetch_add(i, Ordering::Relaxed);
            });
        }
        assert_eq!(sum.into_inner(), 300_000);
    }

    #[test]
    fn threads_that_sleep_are_woken() {
        for threads in [2, 8] {
            let pool = Pool::new(threads);
            for pause in (0..200).step_by(10).map(Duration::from_micros) {
                thread::sleep(pause);
                // Each task waits for the other, so that one thread alone could not finish.
                let barrier = std::sync::Barrier::new(2);
                pool.run(2, &|_| {
                    barrier.wait();
                });
            }
        }
    }

    #[test]
    fn tasks_may_run_tasks() {
        let (outer, other) = (Pool::new(3), Pool::new(2));
        let calls = AtomicUsize::new(0);
        outer.run(10, &|_| {
            outer.run(10, &|_| {
                other.run(10, &|_| {
                    calls.fetch_add(1, Ordering::Relaxed);
                });
            });
        });
        assert_eq!(calls.into_inner(), 1000);
    }

    #[test]
    fn callers_on_several_threads_take_turns() {
        let pool = Pool::new(2);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| check_run(&pool, 5)));
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_the_pool_lives_on() {
        for threads in [1, 2, 6] {
            let pool = Pool::new(threads);
            for bad in [0, 7, 19] {
                let caught = catch_unwind(AssertUnwindSafe(|| {
                    pool.run(20, &|i| {
                        if i == bad {
                            // Without the message that `panic!` prints.
                            resume_unwind(Box::new(i));
                        }
                    });
                }));
                assert_eq!(caught.unwrap_err().downcast_ref(), Some(&bad));
                check_run(&pool, 20);
            }
            let all = catch_unwind(AssertUnwindSafe(|| {
                pool.run(20, &|i| resume_unwind(Box::new(i)));
            }));
            assert!(all.unwrap_err().is::<usize>());
            check_run(&pool, 20);
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn pinned_threads_stay_where_they_are_put() {
        let processors = affinity::allowed().unwrap();
        for threads in [1, 2, processors.len() + 3] {
            for allowed in [&processors[..], &processors[..1]] {
                let pool = Pool::new(threads);
                pool.pin_to(allowed).unwrap();
                assert_eq!(affinity::allowed().unwrap(), [allowed[0]]);
                // Each thread has one task: none is done before all have begun.
                let barrier = std::sync::Barrier::new(threads);
                let seen = Mutex::new(Vec::new());
                pool.run(threads, &|_| {
                    barrier.wait();
                    lock(&seen).extend(affinity::allowed().unwrap());
                });
                let mut seen = seen.into_inner().unwrap();
                let mut expected: Vec<_> = allowed.iter().copied().cycle().take(threads).collect();
                seen.sort_unstable();
                expected.sort_unstable();
                assert_eq!(seen, expected);
                check_run(&pool, 50);
            }
        }
        let pool = Pool::new(2);
        assert!(matches!(pool.pin_to(&[]), Err(KernelError::Pin { .. })));
        assert!(matches!(pool.pin_to(&[usize::MAX]), Err(KernelError::Pin { .. })));
        check_run(&pool, 50);
    }

    #[test]
    fn chunks_are_disjoint_and_complete() {
        let pool = Pool::new(3);
        for (len, chunk_len) in [(0, 3), (1, 3), (10, 3), (9, 3), (10, 100)] {
            let mut data = vec![0; len];
            pool.for_each_chunk(&mut data, chunk_len, |i, chunk| {
                chunk.iter_mut().for_each(|element| *element += i + 1);
            });
            let expected: Vec<_> = (0..len).map(|i| i / chunk_len + 1).collect();
            assert_eq!(data, expected);
        }
    }
}
