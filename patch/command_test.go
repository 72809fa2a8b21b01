package patch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"evolution-openai-patch/patch/config"
	"evolution-openai-patch/patch/plan"
)

func TestExitStatus(t *testing.T) {
	for want, err := range map[int]error{
		0: nil, 1: errors.New("any"), 2: errors.Join(&config.Error{}, &config.Error{}), 3: fmt.Errorf("x: %w", &plan.RefusedError{}),
		4: &WaitError{}, 5: errNotInPlace, 130: Interrupted{syscall.SIGINT}, 143: Interrupted{syscall.SIGTERM},
	} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: exit status %d, want %d", err, got, want)
		}
	}
}

// Every problem is logged in a line of its own.
func TestConfigErrorsAreLogged(t *testing.T) {
	var log strings.Builder
	status := Main(t.Context(), nil, []string{"DATABASE_CONNECTION_URI=postgresql://h/d postgresql://i/d", "PATCH_DRY_RUN=x"}, io.Discard, &log)
	if status != 2 || strings.Count(log.String(), "level=ERROR") != 3 || strings.Count(log.String(), "\n") != 3 {
		t.Errorf("exit status %d: %s", status, log.String())
	}
}

// A pipe that nobody writes to does not keep a signal from ending the program.
func TestPipeWithoutAWriter(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	ended := make(chan int)
	go func() {
		ended <- Main(ctx, nil, []string{"DATABASE_CONNECTION_URI_FILE=" + pipe}, io.Discard, io.Discard)
	}()
	cancel(Interrupted{syscall.SIGTERM})
	if status := <-ended; status != 143 {
		t.Errorf("exit status %d, want 143", status)
	}
}
