package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// maxDelay is the longest pause between two attempts.
const maxDelay = 2 * time.Second

// Retry says how long and how often something is attempted.
type Retry struct {
	Limit    time.Duration // 0: without end
	MaxDelay time.Duration // the longest pause between two attempts where that is less than 2 s; 0: 2 s
	// Notify is called after the first attempt that failed, and after that at most every ten seconds, with the error and
	// the time since the beginning.
	Notify func(err error, elapsed time.Duration)
}

// TimeoutError reports that the limit of a Retry has passed.
type TimeoutError struct {
	Limit time.Duration
	Cause error // of the last attempt that was not cut short
}

func (e *TimeoutError) Error() string { return fmt.Sprintf("gave up after %s: %v", e.Limit, e.Cause) }
func (e *TimeoutError) Unwrap() error { return e.Cause }

// Do calls attempt until it succeeds, fails with a permanent error or has failed for as long as the limit. The context
// that attempt is given ends with the limit. The error is that of the last attempt, or a *TimeoutError.
func (r Retry) Do(ctx context.Context, attempt func(context.Context) error) error {
	limited := ctx
	if r.Limit > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeout(ctx, r.Limit)
		defer cancel()
	}
	p := r.pace()
	began, notified := time.Now(), time.Time{}
	var last error
	err := backoff.RetryNotify(func() error {
		err := attempt(limited)
		if err == nil {
			return nil
		}
		if last != nil && limited.Err() != nil && TimedOut(err) {
			err = last // this attempt was cut short, so it says nothing
		}
		last = err
		if p.class = classify(err); p.class == permanent {
			return backoff.Permanent(err)
		}
		return err
	}, backoff.WithContext(p, ctx), func(err error, _ time.Duration) {
		if notified.IsZero() || time.Since(notified) >= 10*time.Second {
			r.Notify(err, time.Since(began))
			notified = time.Now()
		}
	})
	if err != nil && ctx.Err() == nil && Retryable(err) {
		return &TimeoutError{r.Limit, err}
	}
	return err
}

// pace is the backoff that fits the class of the last error.
type pace struct {
	class        class
	soon, slowly *backoff.ExponentialBackOff
}

// pace attempts within 100 ms while nobody answers, and up to MaxDelay apart where an attempt costs the server something.
func (r Retry) pace() *pace {
	longest := maxDelay
	if r.MaxDelay > 0 {
		longest = min(longest, r.MaxDelay)
	}
	longest = longest * 4 / 5 // the delays vary by a quarter
	return &pace{
		soon: backoff.NewExponentialBackOff(backoff.WithInitialInterval(25*time.Millisecond), backoff.WithMultiplier(1.5),
			backoff.WithRandomizationFactor(0), backoff.WithMaxInterval(100*time.Millisecond), backoff.WithMaxElapsedTime(r.Limit)),
		slowly: backoff.NewExponentialBackOff(backoff.WithInitialInterval(min(100*time.Millisecond, longest)), backoff.WithMultiplier(1.6),
			backoff.WithRandomizationFactor(0.25), backoff.WithMaxInterval(longest), backoff.WithMaxElapsedTime(r.Limit)),
	}
}

// NextBackOff implements backoff.BackOff.
func (p *pace) NextBackOff() time.Duration {
	if p.class == retrySoon {
		return p.soon.NextBackOff()
	}
	return p.slowly.NextBackOff()
}

// Reset implements backoff.BackOff.
func (p *pace) Reset() {
	p.soon.Reset()
	p.slowly.Reset()
}
