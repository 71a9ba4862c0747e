// Package main measures Go's context, case for case as ripcord-bench does in Rust.
//
// It runs one sample and prints lines of `metric value`: nanoseconds, bytes or counts.
//
//	bench CASE CONTENDER SIZE quick|full
//
// The contender `go` derives from context.Background(), `go-parent` from one context that can be
// cancelled. Exit codes: 0 measured, 1 failed, 2 bad arguments.
package main

import (
	"fmt"
	"os"
	"strconv"
)

// A sample is one contender doing one case.
type sample struct {
	contender string
	size      int
	quick     bool
	// again is set when the sample repeats what it could not finish.
	again bool
}

var cases = map[string]func(sample){
	"check/depth-1":                     func(s sample) { checkLive(s, 1) },
	"check/depth-8":                     func(s sample) { checkLive(s, 8) },
	"check/two-threads":                 checkOnTwoThreads,
	"check/cancelled":                   checkCancelled,
	"check/with-deadline":               checkWithDeadline,
	"make/child-drop":                   childCancel,
	"make/child-cancel":                 childCancel,
	"make/child-drop-two-threads":       childCancelOneParent,
	"make/child-drop-own-parents":       childCancelOwnParents,
	"deadline/made-dropped":             timeoutCancel,
	"deadline/made-dropped-two-threads": timeoutCancelOnTwoThreads,
	"value/below-32-values":             valueBelowValues,
	"value/below-32-children":           valueBelowChildren,
	"value/miss":                        valueMiss,
	"cancel-idle/1000":                  cancelIdle,
	"cancel-idle/100000":                cancelIdle,
	"cancel-idle/1000000":               cancelIdle,
	"cancel-waiting/1000":               func(s sample) { cancelWaiting(s, 1) },
	"cancel-waiting/10000":              func(s sample) { cancelWaiting(s, 1) },
	"cancel-waiting/100000":             func(s sample) { cancelWaiting(s, 1) },
	"cancel-waiting/1000-nested":        func(s sample) { cancelWaiting(s, 5) },
	"memory/idle-child":                 memoryIdle,
	"memory/waiting-child":              memoryWaiting,
	"memory/timeout-child":              memoryTimeout,
	"memory/value":                      memoryValue,
	"million-deadlines":                 millionDeadlines,
}

func main() {
	if len(os.Args) != 5 {
		refuse("expected CASE CONTENDER SIZE quick|full, got %d arguments", len(os.Args)-1)
	}
	size, err := strconv.Atoi(os.Args[3])
	if err != nil || size < 0 {
		refuse("expected a size, got %q", os.Args[3])
	}
	run, known := cases[os.Args[1]]
	if !known {
		refuse("no case %q", os.Args[1])
	}
	run(sample{contender: os.Args[2], size: size, quick: os.Args[4] == "quick"})
}

func report(metric string, value float64) {
	fmt.Printf("%s %g\n", metric, value)
}

func refuse(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
	os.Exit(2)
}

// check ends the program when the measured code does not do what it should.
func check(holds bool, message string) {
	if !holds {
		fmt.Fprintln(os.Stderr, "failed:", message)
		os.Exit(1)
	}
}
