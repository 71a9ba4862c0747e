package main

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// handle is what a caller of WithCancel keeps.
type handle struct {
	ctx    context.Context
	cancel context.CancelFunc
}

func memoryIdle(s sample) {
	root, cancelRoot := context.WithCancel(context.Background())
	defer cancelRoot()
	held(s, func() handle {
		child, cancel := context.WithCancel(root)
		return handle{child, cancel}
	})
}

func memoryTimeout(s sample) {
	root, cancelRoot := context.WithCancel(context.Background())
	defer cancelRoot()
	held(s, func() handle {
		child, cancel := context.WithTimeout(root, time.Hour)
		child.Done()
		return handle{child, cancel}
	})
}

func memoryValue(s sample) {
	root, cancel := context.WithCancel(context.Background())
	defer cancel()
	var value uint64 = 1 << 40
	held(s, func() handle { return handle{ctx: context.WithValue(root, level(0), value)} })
}

func memoryWaiting(s sample) {
	root, cancelRoot := context.WithCancel(context.Background())
	defer cancelRoot()
	var waiting atomic.Int64
	before := heap()
	for range s.size {
		own, cancel := context.WithCancel(root)
		go func() {
			defer cancel()
			done := own.Done()
			waiting.Add(1)
			<-done
		}()
	}
	for waiting.Load() < int64(s.size) {
		time.Sleep(time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond)
	reportHeld(s, before)
}

// held makes things and keeps them, and reports what they hold without their handles.
func held(s sample, create func() handle) {
	handles := make([]handle, s.size)
	before := heap()
	for i := range handles {
		handles[i] = create()
	}
	reportHeld(s, before)
	runtime.KeepAlive(handles)
}

func reportHeld(s sample, before runtime.MemStats) {
	after := heap()
	report("bytes", float64(used(after)-used(before))/float64(s.size))
	report("blocks", float64(int64(after.HeapObjects)-int64(before.HeapObjects))/float64(s.size))
}

// heap is measured after two collections, the second of which frees what the first unlinked.
func heap() runtime.MemStats {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats
}

// used counts the stacks too, because a goroutine's waiting state is there.
func used(stats runtime.MemStats) int64 {
	return int64(stats.HeapAlloc + stats.StackInuse)
}
