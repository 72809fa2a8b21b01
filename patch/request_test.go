package patch

import (
	"reflect"
	"testing"
)

// TestRequest holds what is asked of a schema against the configuration.
func TestRequest(t *testing.T) {
	fixes, reversed := Fixes[:2], []Fix{Fixes[1], Fixes[0]}
	for _, c := range []struct {
		cfg  Config
		want Request
	}{
		{Config{Action: ActionApply}, Request{Schema: "s", Fixes: fixes}},
		{Config{Action: ActionStatus, KeepNames: true}, Request{Schema: "s", Fixes: fixes, KeepNames: true}},
		{Config{Action: ActionRevert}, Request{Schema: "s", Fixes: reversed, Goal: Revert}},
		{Config{OnMissingTable: MissingGuard}, Request{Schema: "s", Fixes: fixes, Guard: true}},
		{Config{OnMissingTable: MissingWait}, Request{Schema: "s", Fixes: fixes}},
	} {
		c.cfg.Fixes.Named = fixes
		if got := c.cfg.Request(State{Schema: "s"}); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%+v, want %+v", got, c.want)
		}
	}
}
