// Command evolution-openai-patch lets the instances of an Evolution API share one OpenAI API key: it waits for
// PostgreSQL, removes what forbids it from the application's database, verifies that and exits.
package main

import (
	"context"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"evolution-openai-patch/patch"
)

func main() {
	debug.SetMemoryLimit(12 << 20) // above which garbage is collected at once; the containers in deploy/ have 32 MB
	if os.Getenv("PATCH_WATCH") != "" {
		debug.SetGCPercent(10) // or 4 MB of garbage gather; a single run would take a third of CPU time more
	}
	environ := os.Environ()
	for _, v := range environ {
		// Package patch reads libpq's variables from environ; the driver would apply those that it finds by itself
		// over the connection string.
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
	signal.Ignore(syscall.SIGPIPE) // a closed standard output is an error that is reported, and no reason to stop in the middle
	os.Exit(patch.Main(untilSignal(), os.Args[1:], environ, os.Stdout, os.Stderr))
}

// untilSignal returns a context that SIGINT and SIGTERM cancel, with a patch.Interrupted as the cause.
func untilSignal() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() { cancel(patch.Interrupted{Signal: (<-signals).(syscall.Signal)}) }()
	return ctx
}
