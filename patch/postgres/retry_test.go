package postgres

import (
	"context"
	"errors"
	"io"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// longestPause runs a Retry that never succeeds and returns its longest pause between two attempts.
func longestPause(t *testing.T, r Retry, failure error) (longest time.Duration) {
	var last time.Time
	err := r.Do(t.Context(), func(context.Context) error {
		if !last.IsZero() {
			longest = max(longest, time.Since(last))
		}
		last = time.Now()
		return failure
	})
	if !errors.Is(err, failure) {
		t.Error(err)
	}
	return longest
}

func ignore(error, time.Duration) {}

// Between two attempts there are at most 100 ms while nobody answers, and at most 2 s or MaxDelay where an attempt costs
// the server something.
func TestRetryPace(t *testing.T) {
	for name, c := range map[string]struct {
		err                error
		maxDelay, at, most time.Duration
	}{
		"nobody answers":   {io.EOF, 0, 50 * time.Millisecond, 100 * time.Millisecond},
		"no watch":         {&NotReadyError{}, 0, time.Second, 2 * time.Second},
		"a short watch":    {&NotReadyError{}, 50 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond},
		"a watch":          {&NotReadyError{}, 300 * time.Millisecond, 150 * time.Millisecond, 300 * time.Millisecond},
		"an unhurried one": {&NotReadyError{}, time.Hour, time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				longest := longestPause(t, Retry{Limit: 10 * time.Minute, MaxDelay: c.maxDelay, Notify: ignore}, c.err)
				if longest > c.most || longest < c.at {
					t.Errorf("the longest pause was %s, want %s to %s", longest, c.at, c.most)
				}
			})
		})
	}
}

// A pause that would pass the limit is cut, so that a last attempt is made shortly before it.
func TestRetryMakesALastAttempt(t *testing.T) {
	for limit := 10 * time.Millisecond; limit < 10*time.Second; limit += 217 * time.Millisecond {
		synctest.Test(t, func(t *testing.T) {
			began, last := time.Now(), time.Duration(0)
			_ = Retry{Limit: limit, Notify: ignore}.Do(t.Context(), func(context.Context) error {
				last = time.Since(began)
				return &NotReadyError{}
			})
			if last >= limit || last < limit-limit/10 || last < limit-lastAttempt {
				t.Errorf("the last attempt of %s was made after %s", limit, last)
			}
		})
	}
}

// However short the limit is, one attempt is made, with a context that ends with it.
func TestRetryMakesAnAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, attempts := time.Now(), 0
		err := Retry{Limit: time.Nanosecond, Notify: ignore}.Do(t.Context(), func(ctx context.Context) error {
			attempts++
			<-ctx.Done()
			return ctx.Err()
		})
		if attempts != 1 || !Retryable(err) || time.Since(began) != time.Nanosecond {
			t.Errorf("%v after %d attempts in %s", err, attempts, time.Since(began))
		}
	})
}

// An attempt that the limit cuts short does not hide the cause that an earlier one found.
func TestRetryLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, attempts := time.Now(), 0
		err := Retry{Limit: 3 * time.Second, Notify: ignore}.Do(t.Context(), func(ctx context.Context) error {
			if attempts++; attempts == 1 {
				return io.ErrUnexpectedEOF
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, io.ErrUnexpectedEOF) || !Retryable(err) {
			t.Errorf("%v, want the error of the attempt that was not cut short", err)
		}
		if elapsed := time.Since(began); elapsed != 3*time.Second {
			t.Errorf("it took %s", elapsed)
		}
	})
}

// So it is where the network notices the deadline before the context does.
func TestRetryLimitOfTheNetwork(t *testing.T) {
	for range 1000 {
		synctest.Test(t, func(t *testing.T) {
			attempts := 0
			err := Retry{Limit: 3 * time.Second, Notify: ignore}.Do(t.Context(), func(ctx context.Context) error {
				if attempts++; attempts == 1 {
					return io.ErrUnexpectedEOF
				}
				deadline, _ := ctx.Deadline()
				time.Sleep(time.Until(deadline))
				return os.ErrDeadlineExceeded
			})
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%v, want the error of the attempt that was not cut short", err)
			}
		})
	}
}

// Without a limit it never gives up.
func TestRetryWithoutLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		err := Retry{Notify: ignore}.Do(t.Context(), func(context.Context) error {
			if time.Since(began) < time.Hour {
				return io.EOF
			}
			return nil
		})
		if err != nil || time.Since(began) < time.Hour {
			t.Errorf("%v after %s", err, time.Since(began))
		}
	})
}

func TestRetryEndsForPermanentErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began, permanent, attempts := time.Now(), errors.New("wrong password"), 0
		err := Retry{Limit: time.Hour, Notify: ignore}.Do(t.Context(), func(context.Context) error {
			if attempts++; attempts == 3 {
				return permanent
			}
			return io.EOF
		})
		if err != permanent || attempts != 3 || time.Since(began) > time.Second {
			t.Errorf("%v after %d attempts in %s", err, attempts, time.Since(began))
		}
	})
}

// The first failure is reported at once, and after that one every ten seconds.
func TestRetryNotifies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		_ = Retry{Limit: time.Minute, Notify: func(_ error, elapsed time.Duration) {
			if elapsed != time.Since(began) {
				t.Errorf("elapsed is %s after %s", elapsed, time.Since(began))
			}
			at = append(at, elapsed)
		}}.Do(t.Context(), func(context.Context) error { return io.EOF })
		if len(at) != 6 || at[0] != 0 {
			t.Errorf("notified after %v, want 6 times from 0 on", at)
		}
		for i := 1; i < len(at); i++ {
			if pause := at[i] - at[i-1]; pause < 10*time.Second || pause > 10*time.Second+100*time.Millisecond {
				t.Errorf("%s between two notifications", pause)
			}
		}
	})
}

// Cancelling ends it at any instant, without another attempt.
func TestRetryIsCancelled(t *testing.T) {
	for after := time.Nanosecond; after < 3*time.Second; after += 17 * time.Millisecond { // at 0 it would race with the first attempt
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			began := time.Now()
			time.AfterFunc(after, cancel)
			err := Retry{Notify: ignore}.Do(ctx, func(context.Context) error {
				if ctx.Err() != nil {
					t.Error("attempted after it was cancelled")
				}
				return &NotReadyError{Reason: "not yet"}
			})
			synctest.Wait()
			if err == nil || time.Since(began) > after {
				t.Errorf("cancelled after %s, ended after %s with %v", after, time.Since(began), err)
			}
		})
	}
}
