package patch

import (
	"errors"
	"evolution-openai-patch/patch/plan"
	"fmt"
	"syscall"
	"testing"
)

func TestExitStatus(t *testing.T) {
	for want, err := range map[int]error{
		0: nil, 1: errors.New("any"), 2: errors.Join(&ConfigError{}, &ConfigError{}), 3: fmt.Errorf("x: %w", &plan.RefusedError{}),
		4: &WaitError{}, 5: errNotInPlace, 130: Interrupted{syscall.SIGINT}, 143: Interrupted{syscall.SIGTERM},
	} {
		if got := exitStatus(err); got != want {
			t.Errorf("%v: exit status %d, want %d", err, got, want)
		}
	}
}
