package main

import (
	"context"
	"time"
)

// Sinks that are global, so that the compiler cannot leave the measured work out.
var (
	sinkErr   [2]error
	sinkValue any
)

func checkLive(s sample, depth int) {
	leaf, cancel := chain(context.Background(), depth+1)
	defer cancel()
	s.each(func(n int) {
		for range n {
			sinkErr[0] = leaf.Err()
		}
	})
	check(leaf.Err() == nil, "a live leaf says that it is done")
}

func checkOnTwoThreads(s sample) {
	leaf, cancel := chain(context.Background(), 2)
	defer cancel()
	s.onTwoThreads(func(_, n int) {
		var err error
		for range n {
			if err = leaf.Err(); err != nil {
				break
			}
		}
		check(err == nil, "a live leaf says that it is done")
	})
}

func checkCancelled(s sample) {
	leaf, cancel := chain(context.Background(), 2)
	cancel()
	s.each(func(n int) {
		for range n {
			sinkErr[0] = leaf.Err()
		}
	})
	check(leaf.Err() != nil, "a cancelled leaf says that it is live")
}

func checkWithDeadline(s sample) {
	leaf, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	s.each(func(n int) {
		for range n {
			sinkErr[0] = leaf.Err()
		}
	})
}

// childCancel is both "made and dropped" and "made, cancelled and dropped": Go's way to drop a child
// is to cancel it.
func childCancel(s sample) {
	parent, cancelParent := context.WithCancel(context.Background())
	defer cancelParent()
	s.each(func(n int) { makeAndCancel(parent, n) })
}

func childCancelOneParent(s sample) {
	parent, cancelParent := context.WithCancel(context.Background())
	defer cancelParent()
	s.onTwoThreads(func(_, n int) { makeAndCancel(parent, n) })
}

func childCancelOwnParents(s sample) {
	var parents [2]context.Context
	for i := range parents {
		parent, cancelParent := context.WithCancel(context.Background())
		defer cancelParent()
		parents[i] = parent
	}
	s.onTwoThreads(func(thread, n int) { makeAndCancel(parents[thread], n) })
}

func makeAndCancel(parent context.Context, n int) {
	for range n {
		_, cancel := context.WithCancel(parent)
		cancel()
	}
}

func timeoutCancel(s sample) {
	parent, cancelParent := deadlineParent(s)
	defer cancelParent()
	s.each(func(n int) { timeoutAndCancel(parent, n) })
}

func timeoutCancelOnTwoThreads(s sample) {
	parent, cancelParent := deadlineParent(s)
	defer cancelParent()
	s.onTwoThreads(func(_, n int) { timeoutAndCancel(parent, n) })
}

func timeoutAndCancel(parent context.Context, n int) {
	for range n {
		_, cancel := context.WithTimeout(parent, 30*time.Second)
		cancel()
	}
}

// deadlineParent is what the contender derives from.
func deadlineParent(s sample) (context.Context, context.CancelFunc) {
	if s.contender == "go-parent" {
		return context.WithCancel(context.Background())
	}
	return context.Background(), func() {}
}

type level int

func valueBelowValues(s sample) {
	ctx := context.WithValue(context.Background(), level(0), uint64(1))
	lookUp(s, below32Values(ctx), level(0), true)
}

func valueBelowChildren(s sample) {
	ctx := context.WithValue(context.Background(), level(0), uint64(1))
	leaf, cancel := chain(ctx, 32)
	defer cancel()
	lookUp(s, leaf, level(0), true)
}

func valueMiss(s sample) {
	ctx := context.WithValue(context.Background(), level(0), uint64(1))
	lookUp(s, below32Values(ctx), level(99), false)
}

func below32Values(ctx context.Context) context.Context {
	for i := 1; i <= 32; i++ {
		ctx = context.WithValue(ctx, level(i), uint64(i))
	}
	return ctx
}

func lookUp(s sample, ctx context.Context, key level, found bool) {
	check((ctx.Value(key) != nil) == found, "a value is lost, or one that nobody put in is found")
	// Boxed once, as a key that is a package variable would be.
	var boxed any = key
	s.each(func(n int) {
		for range n {
			sinkValue = ctx.Value(boxed)
		}
	})
}

// chain gives the last of depth nested contexts, and the cancel of the first.
func chain(ctx context.Context, depth int) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	for range depth - 1 {
		ctx = childOf(ctx)
	}
	return ctx, cancel
}

// childOf gives a child that only its parent's cancel ends.
func childOf(parent context.Context) context.Context {
	child, cancel := context.WithCancel(parent)
	_ = cancel
	return child
}
