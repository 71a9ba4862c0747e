package main

import (
	"context"
	"math/rand"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// millionDeadlines has every goroutine wait for the deadline of its own context.
func millionDeadlines(s sample) {
	lead := time.Second + 15*time.Microsecond*time.Duration(s.size)
	for !tryMillion(s, lead) {
		lead *= 2
		check(lead <= time.Minute, "setting up the goroutines took more than 30 s")
		// A second attempt finds the memory of the first one resident.
		s.again = true
	}
}

// tryMillion plays the scene once; false when the first deadline came before the last one waited.
func tryMillion(s sample, lead time.Duration) bool {
	parent, cancelParent := deadlineParent(s)
	defer cancelParent()
	late := make([]int64, s.size)
	for i := range late {
		late[i] = -1
	}
	var waiting, early atomic.Int64
	var gone sync.WaitGroup
	memoryBefore, residentBefore := heap(), residentBytes()
	first := time.Now().Add(lead)
	random := rand.New(rand.NewSource(1))
	spread := int64(s.size) * int64(10*time.Microsecond)
	for i := range late {
		at := first.Add(time.Duration(random.Int63n(spread)))
		own, cancel := context.WithDeadline(parent, at)
		gone.Add(1)
		go func() {
			defer gone.Done()
			defer cancel()
			done := own.Done()
			waiting.Add(1)
			<-done
			late[i] = int64(time.Since(at))
			if late[i] < 0 {
				early.Add(1)
			}
		}()
	}
	for waiting.Load() < int64(s.size) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	// Without a collection, which would take seconds: next to nothing here is garbage.
	var memoryAfter runtime.MemStats
	runtime.ReadMemStats(&memoryAfter)
	memory, resident := used(memoryAfter)-used(memoryBefore), residentBytes()-residentBefore
	if !time.Now().Before(first) {
		gone.Wait()
		return false
	}
	cpuBefore := cpuTime()
	gone.Wait()
	cpu := cpuTime() - cpuBefore
	values := make([]float64, s.size)
	for i, nanoseconds := range late {
		values[i] = float64(max(nanoseconds, 0))
	}
	size := float64(s.size)
	report("late_p50", quantile(values, 0.5))
	report("late_p99", quantile(values, 0.99))
	report("late_max", values[len(values)-1])
	report("early", float64(early.Load()))
	report("cpu", float64(cpu.Nanoseconds())/size)
	report("heap", float64(memory)/size)
	if residentBefore > 0 && !s.again {
		report("rss", float64(resident)/size)
	}
	return true
}

func cpuTime() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// residentBytes is 0 where Linux's /proc is missing.
func residentBytes() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(text), "\n") {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kibibytes, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kibibytes * 1024
		}
	}
	return 0
}
