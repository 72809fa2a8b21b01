package pgtest

import (
	"testing"
	"time"
)

// patience is how long a test waits for what has to happen. It is only used up by a test that fails, so that it may be long
// enough for any machine.
const patience = 10 * time.Minute

// Until polls a condition that another process brings about. It returns nil as soon as the condition does, and the
// condition's last error when the test has lost its patience.
func Until(condition func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := condition()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		<-time.After(10 * time.Millisecond)
	}
}

// MustUntil calls Until. The test fails at once if that returns an error.
func MustUntil(t testing.TB, condition func() error) {
	t.Helper()
	if err := Until(condition); err != nil {
		t.Fatal(err)
	}
}
