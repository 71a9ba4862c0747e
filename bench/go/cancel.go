package main

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

func cancelIdle(s sample) {
	buffer := evictionBuffer()
	measure := func(children int) float64 {
		callers := make([]float64, s.repetitions(min(max(300_000/children, 1), 100)))
		for i := range callers {
			callers[i] = callerTime(children, buffer)
		}
		return quantile(callers, 0.5)
	}
	allDone := make([]float64, s.repetitions(min(max(300_000/s.size, 1), 20)))
	for i := range allDone {
		allDone[i] = timeUntilAllDone(s.size, buffer)
	}
	few := measure(1000)
	caller := measure(s.size)
	report("caller", caller)
	report("all_done", quantile(allDone, 0.5))
	report("growth", caller/few)
}

// callerTime says how long the cancel keeps its caller, with cold caches and nobody looking on.
func callerTime(children int, buffer []byte) float64 {
	cancel, all := family(children)
	evictCaches(buffer)
	start := time.Now()
	cancel()
	elapsed := time.Since(start)
	for _, child := range all {
		check(child.Err() != nil, "a child is live after its root was cancelled")
	}
	return float64(elapsed.Nanoseconds())
}

// timeUntilAllDone is from just before the cancel until a thread on another core has seen every
// child done, in order.
func timeUntilAllDone(children int, buffer []byte) float64 {
	cancel, all := family(children)
	evictCaches(buffer)
	var arrived atomic.Int32
	seen := make(chan time.Time)
	go func() {
		meet(&arrived, 2)
		for _, child := range all {
			for child.Err() == nil {
			}
		}
		seen <- time.Now()
	}()
	meet(&arrived, 2)
	for polling := time.Now(); time.Since(polling) < 20*time.Microsecond; {
	}
	start := time.Now()
	cancel()
	return float64((<-seen).Sub(start).Nanoseconds())
}

func family(children int) (context.CancelFunc, []context.Context) {
	root, cancel := context.WithCancel(context.Background())
	all := make([]context.Context, children)
	for i := range all {
		all[i] = childOf(root)
	}
	// So that no collection of what came before falls into the measured part.
	runtime.GC()
	return cancel, all
}

// cancelWaiting cancels goroutines that each wait on a context of their own, depth levels down.
func cancelWaiting(s sample, depth int) {
	var plays [4][]float64
	for range s.repetitions(min(max(200_000/s.size, 2), 20)) {
		for i, value := range playWaiting(s.size, depth) {
			plays[i] = append(plays[i], value)
		}
	}
	for i, metric := range [4]string{"caller", "p50", "p99", "last"} {
		report(metric, quantile(plays[i], 0.5))
	}
}

func playWaiting(size, depth int) [4]float64 {
	root, cancel := context.WithCancel(context.Background())
	var waiting atomic.Int64
	var gone sync.WaitGroup
	ranAt := make([]time.Time, size)
	for i := range size {
		own, cancelOwn := chain(root, depth)
		gone.Add(1)
		go func() {
			defer gone.Done()
			defer cancelOwn()
			done := own.Done()
			waiting.Add(1)
			<-done
			ranAt[i] = time.Now()
		}()
	}
	for waiting.Load() < int64(size) {
		time.Sleep(time.Millisecond)
	}
	runtime.GC()
	time.Sleep(3 * time.Millisecond)
	start := time.Now()
	cancel()
	caller := time.Since(start)
	gone.Wait()
	latencies := make([]float64, size)
	last := 0.0
	for i, at := range ranAt {
		latencies[i] = float64(at.Sub(start).Nanoseconds())
		last = max(last, latencies[i])
	}
	return [4]float64{float64(caller.Nanoseconds()), quantile(latencies, 0.5), quantile(latencies, 0.99), last}
}
