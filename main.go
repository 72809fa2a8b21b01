// Command evolution-openai-patch lets the instances of an Evolution API share one OpenAI API key: it waits for
// PostgreSQL, takes what forbids it out of the application's database, verifies that and exits.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"evolution-openai-patch/patch"
)

// version is stamped in by the linker.
var version = "dev"

func main() {
	environ := os.Environ()
	for _, v := range environ {
		// What counts is passed on by run; the driver would read the rest behind the connection string's back.
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "PG") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(exitCode(run(untilSignalled(), os.Args[1:], environ, os.Stdout, os.Stderr)))
}

// run is the whole program as a function. It has logged the error that it returns.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	argument := strings.Join(args, " ")
	switch argument {
	case "version", "-v", "--version":
		_, err := fmt.Fprintln(stdout, version)
		return err
	case "help", "-h", "--help":
		_, err := io.WriteString(stdout, patch.Help())
		return err
	case "":
	default:
		environ = append(environ[:len(environ):len(environ)], "PATCH_ACTION="+argument)
	}
	cfg, err := patch.Parse(environ)
	log := logger(cfg, stderr)
	if argument != "" && !slices.Contains(patch.Actions, patch.Action(argument)) {
		err = errors.Join(&patch.ConfigError{
			Variable: "unknown argument", // not quoted: it may be a connection string
			Problem:  "write apply, status, revert, version or help; everything else is set by environment variables",
		})
	}
	if err != nil {
		for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
			log.Error(e.Error())
		}
		return err
	}
	if cfg.Watch > 0 {
		debug.SetGCPercent(10) // by default 4 MB of garbage gather before it is collected, more than all that is in use
	}
	results := patch.Run(ctx, cfg, log)
	if err := patch.Report(stdout, results, cfg.LogFormat); err != nil {
		log.Error("standard output: " + err.Error())
		return err
	}
	return verdict(cfg, results)
}

// logger writes to standard error in the format asked for.
func logger(cfg patch.Config, stderr io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level()}
	if cfg.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(stderr, options))
	}
	return slog.New(slog.NewTextHandler(stderr, options))
}

// errNotInPlace is what status finds where a fix is not in place.
var errNotInPlace = errors.New("a fix that was asked for is not in place")

// verdict is the first error of the results, in the order given.
func verdict(cfg patch.Config, results []patch.Result) error {
	for _, r := range results {
		var stopped interrupted
		switch {
		case errors.As(r.Err, &stopped) && cfg.Watch > 0 && cfg.Action == "apply":
			// A watch that is stopped has done what it was to do.
		case r.Err != nil && (cfg.OnError == "fail" || errors.As(r.Err, &stopped)):
			return r.Err
		case r.Status == patch.Unpatched && cfg.Action == "status":
			return errNotInPlace
		}
	}
	return nil
}

// exitCode is the only map from an error to an exit status.
func exitCode(err error) int {
	var (
		config  *patch.ConfigError
		refused *patch.RefusedError
		wait    *patch.WaitError
		missing *patch.MissingError
		stopped interrupted
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &stopped):
		return 128 + int(stopped.signal)
	case errors.As(err, &config):
		return 2
	case errors.As(err, &refused):
		return 3
	case errors.As(err, &wait), errors.As(err, &missing):
		return 4
	case errors.Is(err, errNotInPlace):
		return 5
	}
	return 1
}

// interrupted is the signal that ended the work.
type interrupted struct{ signal syscall.Signal }

func (e interrupted) Error() string { return "interrupted by " + e.signal.String() }

// untilSignalled is cancelled by SIGINT and SIGTERM, with an interrupted as the cause.
func untilSignalled() context.Context {
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() { cancel(interrupted{(<-signals).(syscall.Signal)}) }()
	return ctx
}
