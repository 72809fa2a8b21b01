package postgres

import (
	"cmp"
	"context"
	"time"

	"github.com/cenkalti/backoff/v4"
)

const (
	maxDelay    = 2 * time.Second        // the longest pause between two attempts
	lastAttempt = 200 * time.Millisecond // how long before the limit the last one begins at the latest, unless a tenth of it is less
)

// Retry says how long and how often something is attempted.
type Retry struct {
	Limit    time.Duration // 0: without end
	MaxDelay time.Duration // the longest pause between two attempts where that is less than 2 s; 0: 2 s
	// Notify is called after the first attempt that failed, and after that at most every ten seconds, with the error and
	// the time since the beginning.
	Notify func(err error, elapsed time.Duration)
}

// Do calls attempt, with a context that ends with the limit, until it succeeds, fails with a permanent error, or the limit has
// passed. The error is that of the last attempt that was not cut short. A retryable one means that the limit has passed, unless
// ctx has ended.
func (r Retry) Do(ctx context.Context, attempt func(context.Context) error) error {
	limited, began := ctx, time.Now()
	if r.Limit > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, r.Limit)
		defer cancel()
	}
	longest := min(cmp.Or(r.MaxDelay, maxDelay), maxDelay)
	soon, slowly := pace(25*time.Millisecond, 100*time.Millisecond), pace(min(100*time.Millisecond, longest), longest)
	var last error
	var notified time.Time
	for {
		err := attempt(limited)
		isOver := limited.Err() != nil || r.Limit > 0 && time.Since(began) >= r.Limit // the network may notice that first
		if last != nil && isOver && TimedOut(err) {
			err = last // this attempt was cut short, so it says nothing
		}
		last = err
		var delay time.Duration
		switch classify(err) {
		case permanent:
			return err
		case retrySoon:
			delay = soon.NextBackOff()
		case retrySlowly:
			delay = slowly.NextBackOff()
		}
		if left := r.Limit - time.Since(began); r.Limit > 0 && delay >= left {
			if delay = left - min(lastAttempt, r.Limit/10); delay <= 0 {
				return err
			}
		}
		if notified.IsZero() || time.Since(notified) >= 10*time.Second {
			notified = time.Now()
			r.Notify(err, time.Since(began))
		}
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// pace returns pauses that grow by half and are not all the same, so that those who wait for the same do not come at once.
func pace(first, longest time.Duration) backoff.BackOff {
	return backoff.NewExponentialBackOff(backoff.WithInitialInterval(first*4/5), backoff.WithMultiplier(1.5), backoff.WithMaxInterval(longest*4/5),
		backoff.WithRandomizationFactor(0.25), backoff.WithMaxElapsedTime(0))
}
