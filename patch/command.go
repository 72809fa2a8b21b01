package patch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
	"evolution-openai-patch/patch/postgres"
)

// version is set by the linker, see scripts/build.sh.
var version = "dev"

// Main is the program as a function: it takes the arguments without the program's name and the environment in the form
// of os.Environ, writes the report to stdout and the log to stderr, and returns the exit status. Cancelling ctx with an
// [Interrupted] as the cause ends it as a signal would.
func Main(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	return exitStatus(command(ctx, args, environ, stdout, stderr))
}

// command answers the arguments or does the work. It has logged the error that it returns, or the report holds it.
func command(ctx context.Context, args, environ []string, stdout, stderr io.Writer) error {
	argument := strings.Join(args, " ")
	switch argument {
	case "version", "-v", "--version":
		_, err := fmt.Fprintln(stdout, version)
		return err
	case "help", "-h", "--help":
		_, err := io.WriteString(stdout, config.Help())
		return err
	case "":
	default:
		environ = append(environ[:len(environ):len(environ)], "PATCH_ACTION="+argument, "PATCH_WATCH=0") // an argument runs once
	}
	cfg, err := config.Parse(ctx, environ)
	log := newLogger(cfg, stderr)
	if argument != "" && !slices.Contains(config.Actions, config.Action(argument)) {
		err = &config.Error{
			Variable: "unknown argument", // not quoted: it may be a connection string
			Problem:  "write apply, status, revert, version or help; everything else is set by environment variables",
		}
	}
	if err != nil {
		for problem := range strings.SplitSeq(err.Error(), "\n") { // as errors.Join separates them
			log.Error(problem)
		}
		return err
	}
	report := newReporter(&cfg, log, stdout)
	handleAll(ctx, &cfg, log, report)
	report.logSummary()
	return report.err()
}

// maxText is the longest text in a line, in bytes.
const maxText = 6 << 10

// newLogger writes to standard error in the format asked for.
func newLogger(cfg config.Config, stderr io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.LogLevel.Level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		switch a.Value.Kind() {
		case slog.KindString:
			a.Value = slog.StringValue(postgres.Shorten(a.Value.String(), maxText))
		case slog.KindDuration: // of which JSON would have the nanoseconds
			a.Value = slog.StringValue(a.Value.String())
		}
		return a
	}}
	if cfg.LogFormat == config.FormatJSON {
		return slog.New(slog.NewJSONHandler(stderr, options))
	}
	return slog.New(slog.NewTextHandler(stderr, options))
}

// exitStatus is the only map from an error to an exit status.
func exitStatus(err error) int {
	var (
		config  *config.Error
		refused *plan.RefusedError
		wait    *WaitError
		missing *MissingError
		stopped Interrupted
	)
	switch {
	case err == nil:
		return 0
	case errors.As(err, &stopped):
		return 128 + int(stopped.Signal)
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
