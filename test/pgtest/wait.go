package pgtest

import (
	"testing"
	"time"
)

// Until polls a condition that another process brings about. It returns nil as soon as the condition does, and the
// condition's last error after the limit.
func Until(limit time.Duration, condition func() error) error {
	for deadline := time.Now().Add(limit); ; {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// MustUntil calls Until. The test fails at once if the limit is exceeded.
func MustUntil(t testing.TB, limit time.Duration, condition func() error) {
	t.Helper()
	if err := Until(limit, condition); err != nil {
		t.Fatal(err)
	}
}
