package patch

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// Between two attempts there is never more than 100 ms while nobody answers, nor more than 2 s or a watch's interval where
// an attempt costs the server something.
func TestPace(t *testing.T) {
	for name, c := range map[string]struct {
		err               error
		slowest, at, most time.Duration
	}{
		"nobody answers":   {io.EOF, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		"no watch":         {&notReadyError{}, 0, time.Second, 2 * time.Second},
		"a short watch":    {&notReadyError{}, 50 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond},
		"a watch":          {&notReadyError{}, 300 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond},
		"an unhurried one": {&notReadyError{}, time.Hour, time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var last time.Time
				var longest time.Duration
				err := await(t.Context(), 10*time.Minute, c.slowest, slog.New(slog.DiscardHandler), func(context.Context) error {
					if !last.IsZero() {
						longest = max(longest, time.Since(last))
					}
					last = time.Now()
					return c.err
				})
				var wait *WaitError
				if !errors.As(err, &wait) {
					t.Error(err)
				}
				if longest > c.most || longest < c.at {
					t.Errorf("the longest pause was %s, want %s to %s", longest, c.at, c.most)
				}
			})
		})
	}
}
