package main

import (
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// each measures one operation: nanoseconds, then allocations and bytes in a pass of their own.
// The body runs the operation n times, so that the loop is compiled together with it.
func (s sample) each(body func(n int)) {
	target, batches := 20*time.Millisecond, 7
	if s.quick {
		target, batches = 4*time.Millisecond, 3
	}
	run := func(n int) time.Duration {
		start := time.Now()
		body(n)
		return time.Since(start)
	}
	report("time", batchMedian(batches, calibrate(target, run), run))
	const counted = 1000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	body(counted)
	runtime.ReadMemStats(&after)
	report("allocs", math.Floor(float64(after.Mallocs-before.Mallocs)/counted))
	report("bytes", math.Floor(float64(after.TotalAlloc-before.TotalAlloc)/counted))
}

// onTwoThreads measures one operation as each of two threads sees it while both repeat it.
func (s sample) onTwoThreads(body func(thread, n int)) {
	count := 25
	if s.quick {
		count = 5
	}
	begin := time.Now()
	// Repeats a batch until the threads ran side by side, or so briefly that it is hard to tell.
	run := func(n int, short time.Duration) time.Duration {
		for {
			elapsed, sideBySide := runSideBySide(body, n)
			if sideBySide || elapsed < short {
				return elapsed
			}
			patient := time.Since(begin) < 10*time.Second
			check(patient, "two threads never ran side by side: the machine is too busy")
		}
	}
	const target = 2 * time.Millisecond
	n := calibrate(target, func(n int) time.Duration { return run(n, target/4) })
	report("time", batchMedian(count, n, func(n int) time.Duration { return run(n, 0) }))
}

// runSideBySide says how long the slower thread took, and whether both really ran at the same time.
// On a busy machine they often share a core, and then do not meet at all.
func runSideBySide(body func(thread, n int), n int) (time.Duration, bool) {
	var arrived atomic.Int32
	var group sync.WaitGroup
	var started [2]time.Time
	var elapsed [2]time.Duration
	var undisturbed [2]bool
	for thread := range 2 {
		group.Add(1)
		go func() {
			defer group.Done()
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			meet(&arrived, 2)
			preempted := threadPreemptions()
			started[thread] = time.Now()
			body(thread, n)
			elapsed[thread] = time.Since(started[thread])
			undisturbed[thread] = preempted == threadPreemptions()
		}()
	}
	group.Wait()
	slower := max(elapsed[0], elapsed[1])
	skew := started[1].Sub(started[0]).Abs()
	sideBySide := undisturbed[0] && undisturbed[1] && skew*20 < slower
	return slower, sideBySide
}

// threadPreemptions says how often the calling thread had to give up its core; empty without Linux.
func threadPreemptions() string {
	text, _ := os.ReadFile("/proc/thread-self/status")
	_, count, _ := strings.Cut(string(text), "nonvoluntary_ctxt_switches:")
	return count
}

// calibrate says how many operations take about the target.
func calibrate(target time.Duration, run func(n int) time.Duration) int {
	for n := 16; ; n *= 2 {
		elapsed := run(n)
		if elapsed*4 >= target {
			return max(1, int(float64(n)*float64(target)/float64(elapsed)))
		}
	}
}

// batchMedian gives the median nanoseconds per operation of several batches of n operations.
func batchMedian(batches, n int, run func(n int) time.Duration) float64 {
	times := make([]float64, batches)
	for i := range times {
		times[i] = float64(run(n).Nanoseconds()) / float64(n)
	}
	return quantile(times, 0.5)
}

// repetitions says how often a scene is repeated within one sample.
func (s sample) repetitions(full int) int {
	if s.quick {
		return (full + 3) / 4
	}
	return full
}

// meet waits, without sleeping, until all have come.
func meet(arrived *atomic.Int32, expected int32) {
	arrived.Add(1)
	for arrived.Load() < expected {
	}
}

// quantile interpolates linearly between the two nearest ranks. It sorts its values.
func quantile(values []float64, q float64) float64 {
	slices.Sort(values)
	rank := q * float64(len(values)-1)
	below := int(rank)
	above := min(below+1, len(values)-1)
	return values[below] + (values[above]-values[below])*(rank-float64(below))
}

// evictCaches reads through a buffer larger than the private caches.
func evictCaches(buffer []byte) {
	var sum byte
	for i := 0; i < len(buffer); i += 64 {
		sum += buffer[i]
	}
	sinkByte = sum
}

func evictionBuffer() []byte {
	buffer := make([]byte, 16<<20)
	for i := range buffer {
		buffer[i] = 1
	}
	return buffer
}

var sinkByte byte
